//! The document of `/openapi.json`: `docs/openapi.json` with the settings of the node.

use serde_json::Value;

/// The description of the HTTP API in OpenAPI 3.1, with the defaults of all settings. A test
/// compares it with the code.
const DOCUMENT: &str = include_str!("../../docs/openapi.json");

/// The member of a schema that names the setting behind its bound. `docs/openapi.json` uses it in
/// place of a setting that each node may have set.
const SETTING: &str = "x-setting";

/// The bounds of a schema that a setting may decide.
const BOUNDS: [&str; 2] = ["maximum", "maxLength"];

/// The settings of a node that its document shows.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// The URL of the public listener without its base path, such as `http://127.0.0.1:8080`.
    pub origin: String,
    /// The path in front of all public paths.
    pub base_path: String,
    /// The URL of the admin listener.
    pub admin_origin: String,
    /// Bounds, each with the key of its setting.
    pub bounds: Vec<(&'static str, usize)>,
}

/// Returns the document with the settings of a node.
pub(super) fn document(settings: &ApiSettings) -> String {
    // A test parses the document, so it is an object here.
    let mut document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
    set_server(&mut document, &settings.origin, &settings.base_path);
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        // A path with servers of its own is one of the admin listener.
        for path in paths.values_mut().filter(|path| path.get("servers").is_some()) {
            set_server(path, &settings.admin_origin, "");
        }
    }
    set_bounds(&mut document, &settings.bounds);
    format!("{document:#}\n")
}

/// Replaces the first server of a document or of a path.
fn set_server(holder: &mut Value, origin: &str, base_path: &str) {
    let Some(server) = holder.pointer_mut("/servers/0") else { return };
    server["url"] = format!("{{origin}}{base_path}").into();
    server["variables"]["origin"]["default"] = origin.into();
}

/// Replaces the bounds of all schemas that name a setting.
fn set_bounds(value: &mut Value, bounds: &[(&'static str, usize)]) {
    match value {
        Value::Object(members) => {
            let setting = members.get(SETTING).and_then(Value::as_str);
            let found = bounds.iter().find(|(key, _)| Some(*key) == setting);
            if let Some(&(_, bound)) = found {
                for name in BOUNDS {
                    if let Some(old) = members.get_mut(name) {
                        *old = bound.into();
                    }
                }
            }
            members.values_mut().for_each(|member| set_bounds(member, bounds));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| set_bounds(item, bounds)),
        _ => {}
    }
}
