//! The routes that `docs/forward-auth.md` shows, as they stand there, in apps with real sessions.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use http::{HeaderMap, HeaderValue};
use tidings::auth::forward::{ForwardAuth, ForwardMetrics};
use tidings::auth::{Action, Check, Denial, Standing};
use tidings::config::{Config, ForwardUrl};
use tidings::workspace::WorkspaceId;

use crate::support::directory::{Directory, repository_file};
use crate::support::http::get;
use crate::support::programs::{Program, installed};
use crate::support::{DEADLINE, eventually_some};

/// The code block of the document whose first line names this file.
fn code(file: &str) -> String {
    let document = repository_file("docs/forward-auth.md");
    let blocks = document.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    let mut named = blocks.map(|(_, code)| code).filter(|code| {
        code.lines().next().is_some_and(|line| line.trim_start_matches(['/', '#', ' ']) == file)
    });
    let code = named.next().unwrap_or_else(|| panic!("no code block is called {file}"));
    assert!(named.next().is_none(), "two code blocks are called {file}");
    code.to_owned()
}

/// Lays files of `tests/clients/forward` into a directory.
fn lay(directory: &Directory, app: &str, files: &[&str]) {
    for file in files {
        write(&directory.file(file), &repository_file(&format!("tests/clients/forward/{app}/{file}")));
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Starts an app that prints its port.
async fn start(name: &str, program: impl Into<PathBuf>, script: PathBuf) -> (Program, SocketAddr) {
    let mut command = Command::new(program.into());
    command.arg(script);
    let program = Program::start(name, command);
    let port = eventually_some("the port of the app", DEADLINE, async || {
        program.log().lines().find_map(|line| line.strip_prefix("port ")?.parse::<u16>().ok())
    })
    .await;
    (program, ([127, 0, 0, 1], port).into())
}

/// Signs a user in, and answers the cookie of the session.
async fn cookie(app: SocketAddr, user: &str) -> String {
    let answer = get(app, &format!("/login/{user}")).await;
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(cookie.contains('='), "{answer:?}");
    cookie
}

/// Asks an app as the broker does.
struct Client {
    auth: ForwardAuth,
    cookie: Option<String>,
}

impl Client {
    fn new(app: SocketAddr, cookie: Option<String>) -> Self {
        let mut config = Config::defaults().auth.forward;
        config.url = ForwardUrl::new(format!("http://{app}/internal/tidings/{{workspace}}"));
        Self { auth: ForwardAuth::new(&config, ForwardMetrics::default()).unwrap(), cookie }
    }

    /// The user that is let in.
    async fn ask(&self, action: Action, workspace: &str) -> Result<String, (Standing, Check)> {
        let mut headers = HeaderMap::new();
        if let Some(cookie) = &self.cookie {
            headers.insert("cookie", HeaderValue::from_str(cookie).unwrap());
        }
        let client = [192, 0, 2, 7].into();
        let asking = self.auth.asking(&headers, client, "https", Some("app.example"), "/api/events");
        let decision = self.auth.ask(&WorkspaceId::parse(workspace).unwrap(), action, &asking).await;
        let decision = decision.map_err(|Denial { standing, check, .. }| (standing, check))?;
        assert!(decision.until.is_some(), "the answer may be used again");
        Ok(decision.identity.user.unwrap().to_string())
    }
}

/// What every app has to answer: u1 owns two workspaces, u2 reads them.
async fn check(app: SocketAddr, owner: &str, reader: &str) {
    use Action::{Publish, Subscribe};
    for cookie in [None, Some("session=forged; connect.sid=s%3Aforged; sessionid=forged".to_owned())] {
        let stranger = Client::new(app, cookie);
        for action in [Subscribe, Publish] {
            assert_eq!(stranger.ask(action, "acme").await, Err((Standing::Unauthenticated, Check::App)));
        }
    }
    let u1 = Client::new(app, Some(cookie(app, "u1").await));
    let u2 = Client::new(app, Some(cookie(app, "u2").await));
    for workspace in ["acme", "team-1.v2~x_y"] {
        assert_eq!(u1.ask(Subscribe, workspace).await.as_deref(), Ok(owner));
        assert_eq!(u1.ask(Publish, workspace).await.as_deref(), Ok(owner));
        assert_eq!(u2.ask(Subscribe, workspace).await.as_deref(), Ok(reader));
        assert_eq!(u2.ask(Publish, workspace).await, Err((Standing::Forbidden, Check::Publish)));
    }
    for action in [Subscribe, Publish] {
        assert_eq!(u1.ask(action, "other").await, Err((Standing::Forbidden, Check::App)));
    }
}

#[tokio::test]
async fn the_route_for_express() {
    let directory = Directory::new();
    lay(&directory, "express", &["app.js", "permissions.js", "package.json"]);
    write(&directory.file("tidings.js"), &code("tidings.js"));
    std::os::unix::fs::symlink(installed("node/node_modules"), directory.file("node_modules")).unwrap();
    let (_program, app) = start("the Express app", "node", directory.file("app.js")).await;
    check(app, "u1", "u2").await;
}

#[tokio::test]
async fn the_route_for_django() {
    let directory = Directory::new();
    lay(&directory, "django", &["serve.py", "app/__init__.py", "app/permissions.py"]);
    for file in ["views.py", "urls.py"] {
        write(&directory.file("app").join(file), &code(file));
    }
    let python = installed("python/bin/python");
    let (_program, app) = start("the Django app", python, directory.file("serve.py")).await;
    check(app, "1", "2").await;
}
