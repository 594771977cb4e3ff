//! The routes of the guides on cookies, unchanged, in apps with real sessions.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use tidings::config::Config;
use tidings_auth::ForwardUrl;
use tidings_auth::forward::ForwardAuth;
use tidings_auth::{Action, Denial, DenialKind, DenialReason};
use tidings_event::workspace::WorkspaceId;
use tidings_metrics::ForwardMetrics;

use crate::support::directory::{Directory, repository_file};
use crate::support::http::{Response, request, try_request};
use crate::support::nginx_host::NginxHost;
use crate::support::ports::Port;
use crate::support::programs::{Program, installed};
use crate::support::{
    Broker, BrokerOptions, Connect, DEADLINE, EventSource, SseClient, eventually, eventually_some,
};

/// How long a framework may take to start on a busy machine.
const SLOW: Duration = Duration::from_secs(60);

/// The guide on cookies, and the pages with its routes.
const PAGES: [&str; 3] = ["cookies-of-your-app", "route-in-node", "route-in-python-and-rails"];

/// The names of all blocks of these pages that are run: the first line of each, without its comment
/// sign.
const BLOCKS: [&str; 14] = [
    "tidings.toml",
    "tidings.js",
    "auth.ts",
    AUTH_JS_ROUTE,
    "lib/auth-options.ts",
    NEXT_AUTH_ROUTE,
    "views.py",
    "urls.py",
    "settings.py",
    "app/tidings.py",
    "app/routes/tidings.py",
    "config/routes.rb",
    "app/controllers/tidings_controller.rb",
    "config/environments/production.rb",
];
const AUTH_JS_ROUTE: &str = "app/internal/tidings/[workspace]/route.ts";
const NEXT_AUTH_ROUTE: &str = "app/internal/tidings/[workspace]/route.ts with NextAuth 4";

/// The code blocks of the pages, with their names. Pictures are none.
fn blocks() -> Vec<(String, String)> {
    let pages = PAGES.map(|page| repository_file(&format!("docs/guides/{page}.md"))).concat();
    let blocks = pages.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    let blocks = blocks.filter(|(language, _)| *language != "mermaid");
    let name = |code: &str| code.lines().next().unwrap().trim_start_matches(['/', '#', ' ']).to_owned();
    blocks.map(|(_, code)| (name(code), code.to_owned())).collect()
}

/// The code block of the pages whose first line names this file.
fn code(file: &str) -> String {
    assert!(BLOCKS.contains(&file), "{file} is not in the list");
    let mut named = blocks().into_iter().filter(|(name, _)| name == file);
    let (_, code) = named.next().unwrap_or_else(|| panic!("no code block is called {file}"));
    assert!(named.next().is_none(), "two code blocks are called {file}");
    code
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

/// Starts an app that prints its port, in its directory.
async fn start(name: &str, program: impl Into<PathBuf>, script: PathBuf) -> (Program, SocketAddr) {
    let mut command = Command::new(program.into());
    command.current_dir(script.parent().unwrap()).arg(script);
    let program = Program::start(name, command);
    let port = eventually_some("the port of the app", SLOW, async || {
        program.log().lines().find_map(|line| line.strip_prefix("port ")?.parse::<u16>().ok())
    })
    .await;
    (program, ([127, 0, 0, 1], port).into())
}

/// The headers of a proxy for an app behind it.
const HTTPS: [(&str, &str); 2] = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "app.example")];

/// The cookies of a response, as a client returns them.
fn cookies(answer: &Response) -> String {
    let set = answer.headers.get_all("set-cookie").iter();
    let pairs: Vec<_> = set.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap()).collect();
    assert!(!pairs.is_empty(), "{answer:?}");
    pairs.join("; ")
}

/// Signs a user in over https, and returns the cookie of the session.
async fn cookie(app: SocketAddr, user: &str) -> String {
    cookies(&request(app, "GET", &format!("/login/{user}"), &HTTPS, "").await)
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

    /// The authenticated user.
    async fn ask(&self, action: Action, workspace: &str) -> Result<String, (DenialKind, DenialReason)> {
        let mut headers = HeaderMap::new();
        if let Some(cookie) = &self.cookie {
            headers.insert("cookie", HeaderValue::from_str(cookie).unwrap());
        }
        let client = [192, 0, 2, 7].into();
        let asking = self.auth.auth_request(&headers, client, "https", Some("app.example"), "/api/events");
        let decision = self.auth.ask(&WorkspaceId::parse(workspace).unwrap(), action, &asking).await;
        let decision = decision.map_err(|Denial { kind, reason, .. }| (kind, reason))?;
        assert!(decision.until.is_some(), "the answer may be used again");
        Ok(decision.identity.user.unwrap().to_string())
    }
}

/// The rules of every app: u1 owns two workspaces, u2 reads them.
async fn check(app: SocketAddr, owner: &str, reader: &str) {
    check_with(app, owner, reader, cookie).await;
}

async fn check_with(
    app: SocketAddr,
    owner: &str,
    reader: &str,
    cookie: impl AsyncFn(SocketAddr, &str) -> String,
) {
    use Action::{Publish, Subscribe};
    for cookie in [None, Some("session=forged; connect.sid=s%3Aforged; sessionid=forged; __Secure-authjs.session-token=forged; \
          __Secure-next-auth.session-token=forged".to_owned())] {
        let stranger = Client::new(app, cookie);
        for action in [Subscribe, Publish] {
            assert_eq!(stranger.ask(action, "acme").await, Err((DenialKind::Unauthenticated, DenialReason::App)));
        }
    }
    let u1 = Client::new(app, Some(cookie(app, "u1").await));
    let u2 = Client::new(app, Some(cookie(app, "u2").await));
    for workspace in ["acme", "team-1.v2~x_y"] {
        assert_eq!(u1.ask(Subscribe, workspace).await.as_deref(), Ok(owner));
        assert_eq!(u1.ask(Publish, workspace).await.as_deref(), Ok(owner));
        assert_eq!(u2.ask(Subscribe, workspace).await.as_deref(), Ok(reader));
        assert_eq!(u2.ask(Publish, workspace).await, Err((DenialKind::Forbidden, DenialReason::Publish)));
    }
    for action in [Subscribe, Publish] {
        assert_eq!(u1.ask(action, "other").await, Err((DenialKind::Forbidden, DenialReason::App)));
    }
}

/// The route in the guide works as it is printed.
#[tokio::test]
async fn the_route_for_express() {
    let directory = Directory::new();
    lay(&directory, "express", &["app.js", "permissions.js", "package.json"]);
    write(&directory.file("tidings.js"), &code("tidings.js"));
    std::os::unix::fs::symlink(installed("node/node_modules"), directory.file("node_modules")).unwrap();
    let (_program, app) = start("the Express app", "node", directory.file("app.js")).await;
    check(app, "u1", "u2").await;
}

/// Starts the Django app in a directory.
async fn django(directory: &Directory) -> (Program, SocketAddr) {
    lay(directory, "django", &["serve.py", "app/__init__.py", "app/permissions.py"]);
    for file in ["views.py", "urls.py", "settings.py"] {
        write(&directory.file("app").join(file), &code(file));
    }
    start("the Django app", installed("python/bin/python"), directory.file("serve.py")).await
}

/// The route in the guide works as it is printed.
#[tokio::test]
async fn the_route_for_django() {
    let directory = Directory::new();
    let (_program, app) = django(&directory).await;
    check(app, "1", "2").await;
}

#[tokio::test]
async fn the_route_for_flask() {
    let directory = Directory::new();
    lay(&directory, "flask", &["serve.py", "app/__init__.py", "app/permissions.py"]);
    write(&directory.file("app/tidings.py"), &code("app/tidings.py"));
    let python = installed("python/bin/python");
    let (_program, app) = start("the Flask app", python, directory.file("serve.py")).await;
    check(app, "u1", "u2").await;
}

#[tokio::test]
async fn the_route_for_fastapi() {
    let directory = Directory::new();
    let files = ["serve.py", "app/__init__.py", "app/permissions.py", "app/routes/__init__.py"];
    lay(&directory, "fastapi", &files);
    write(&directory.file("app/routes/tidings.py"), &code("app/routes/tidings.py"));
    let python = installed("python/bin/python");
    let (_program, app) = start("the FastAPI app", python, directory.file("serve.py")).await;
    check(app, "u1", "u2").await;
}

#[tokio::test]
async fn the_route_for_rails() {
    let directory = Directory::new();
    lay(&directory, "rails", &["serve.rb"]);
    for (file, block) in [
        ("routes.rb", "config/routes.rb"),
        ("production.rb", "config/environments/production.rb"),
        ("tidings_controller.rb", "app/controllers/tidings_controller.rb"),
    ] {
        write(&directory.file(file), &code(block));
    }
    let (_program, app) = start("the Rails app", "ruby", directory.file("serve.rb")).await;
    check(app, "u1", "u2").await;
}

/// A Next.js app in production, with the library of this name as `next-auth`.
struct Next {
    directory: Directory,
    port: Port,
}

impl Next {
    /// Lays the app below the installed libraries, checks its types, and builds it.
    async fn build(library: &str, handlers: &str, own: &[(&str, &str)]) -> Self {
        let directory = Directory::new_in(&installed("node"));
        let files = ["package.json", "tsconfig.json", "next.config.mjs", "app/layout.tsx"];
        lay(&directory, "next", &files);
        lay(&directory, "next", &["lib/permissions.ts", "lib/providers.ts"]);
        let routes = directory.file("app/api/auth/[...nextauth]/route.ts");
        write(&routes, &repository_file(&format!("tests/clients/forward/next/{handlers}")));
        for (file, block) in own {
            write(&directory.file(file), &code(block));
        }
        // A folder beside the app is found before one above it.
        fs::create_dir(directory.file("node_modules")).unwrap();
        let libraries = installed("node/node_modules");
        std::os::unix::fs::symlink(libraries.join(library), directory.file("node_modules/next-auth"))
            .unwrap();

        let next = Self { directory, port: Port::claim() };
        next.run("typescript/bin/tsc", &["--strict", "--project", "."]).await;
        next.run("next/dist/bin/next", &["build"]).await;
        next
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(installed("node/node_modules").join(script)).current_dir(self.directory.path());
        command.env("NEXT_TELEMETRY_DISABLED", "1");
        command
    }

    async fn run(&self, script: &str, arguments: &[&str]) {
        let mut command = self.command(script);
        command.args(arguments);
        let output = tokio::process::Command::from(command).kill_on_drop(true).output();
        let output = tokio::time::timeout(4 * SLOW, output).await.expect("an end in time").unwrap();
        let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "{script}: {}", told.concat());
    }

    async fn start(&self, environment: &[(&str, &str)]) -> Program {
        let mut command = self.command("next/dist/bin/next");
        command.args(["start", "--hostname", "127.0.0.1", "--port", &self.port.number().to_string()]);
        command.envs(environment.iter().copied());
        let program = Program::start("the Next.js app", command);
        eventually_some("the app answers", SLOW, async || {
            try_request(self.port.address(), "GET", "/", &[], "").await.ok()
        })
        .await;
        program
    }
}

/// Signs a user in at NextAuth's own endpoints.
async fn sign_in_by_form(app: SocketAddr, user: &str) -> String {
    let csrf = request(app, "GET", "/api/auth/csrf", &HTTPS, "").await;
    let body = format!("csrfToken={}&user={user}", csrf.json()["csrfToken"].as_str().unwrap());
    let cookie = cookies(&csrf);
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let headers = [HTTPS[0], HTTPS[1], form, ("Cookie", cookie.as_str())];
    cookies(&request(app, "POST", "/api/auth/callback/credentials", &headers, body).await)
}

#[tokio::test]
async fn the_route_for_auth_js() {
    let secret = ("AUTH_SECRET", "of a test, of thirty-two bytes or more");
    let own = [("auth.ts", "auth.ts"), (AUTH_JS_ROUTE, AUTH_JS_ROUTE)];
    let next = Next::build("next-auth", "auth-js.ts", &own).await;
    let app = next.port.address();
    for trust in [("AUTH_TRUST_HOST", "true"), ("AUTH_URL", "https://app.example")] {
        let _program = next.start(&[secret, trust]).await;
        check_with(app, "u1", "u2", sign_in_by_form).await;
    }
    // With neither, every client gets 401.
    let program = next.start(&[secret, ("AUTH_TRUST_HOST", "true")]).await;
    let cookie = sign_in_by_form(app, "u1").await;
    drop(program);
    let program = next.start(&[secret]).await;
    let refused = Client::new(app, Some(cookie)).ask(Action::Subscribe, "acme").await;
    assert_eq!(refused, Err((DenialKind::Unauthenticated, DenialReason::App)));
    assert!(program.log().contains("UntrustedHost"));
}

#[tokio::test]
async fn the_route_for_next_auth_4() {
    let own = [("lib/auth-options.ts", "lib/auth-options.ts"), (AUTH_JS_ROUTE, NEXT_AUTH_ROUTE)];
    let next = Next::build("next-auth-4", "next-auth.ts", &own).await;
    let secret = ("NEXTAUTH_SECRET", "of a test, of thirty-two bytes or more");
    let _program = next.start(&[secret, ("NEXTAUTH_URL", "https://app.example")]).await;
    check_with(next.port.address(), "u1", "u2", sign_in_by_form).await;
}

/// The whole way: a client over https, `deploy/nginx-host.conf`, a broker with the page's settings,
/// and an app that redirects to https.
#[tokio::test]
async fn app_gets_https_from_a_trusted_proxy_only() {
    let directory = Directory::new();
    let (_program, app) = django(&directory).await;
    let page = code("tidings.toml").replace("127.0.0.1:3000", &app.to_string());
    let cookie = cookie(app, "u1").await;
    for (settings, expected) in [
        (page.clone(), r#""type":"connected""#),
        (page.replace("trusted_proxies", "#"), r#""reason":"unverified""#),
    ] {
        let file = directory.write("tidings.toml", settings);
        let options = BrokerOptions::embedded().argument("--config").argument(&file.display().to_string());
        let broker = Broker::start_ready(options).await;
        let host = NginxHost::start(&broker).await;
        let stream = host.stream("acme", &cookie);
        eventually(expected, DEADLINE, async || stream.log().contains(expected)).await;
    }
}

#[test]
fn every_block_of_the_pages_is_run() {
    let shown: BTreeSet<_> = blocks().into_iter().map(|(name, _)| name).collect();
    assert_eq!(shown, BLOCKS.map(str::to_owned).into());
}

/// `docs/guides/development-servers.md` advises against the rewrites of Next.js. Each reason holds.
#[tokio::test]
async fn rewrites_of_next_end_streams() {
    let options = BrokerOptions::embedded().set("sse.retry_ms", 100).set("sse.heartbeat_seconds", 3600);
    let mut broker = Broker::start_ready(options).await;
    let directory = Directory::new_in(&installed("node"));
    lay(&directory, "next", &["package.json", "tsconfig.json", "app/layout.tsx"]);
    let rewrites = format!(
        "export default {{ rewrites: async () => [{{ source: '/api/:path*', destination: 'http://{}/api/:path*' }}] }};",
        broker.address()
    );
    write(&directory.file("next.config.mjs"), &rewrites);
    write(&directory.file("app/page.tsx"), "export default function Page() { return <p>the app</p>; }");
    let next = Next { directory, port: Port::claim() };
    next.run("next/dist/bin/next", &["build"]).await;
    let _program = next.start(&[]).await;

    let mut idle = SseClient::connect(next.port.address(), "acme", Connect::default()).await;
    idle.connected().await;
    let began = Instant::now();
    broker.publish("acme", "through Next.js").await;
    assert_eq!(idle.next_event(DEADLINE).await.data, "through Next.js");
    idle.wait_end(SLOW).await;
    assert!(began.elapsed() > Duration::from_secs(25), "{:?}", began.elapsed());

    let mut source = EventSource::open(next.port.address(), "acme", Connect::default());
    source.connected().await;
    broker.kill();
    eventually("the source is closed for good", DEADLINE, async || source.closed().is_some()).await;
    let response = request(next.port.address(), "GET", "/api/workspaces/acme/events", &[], "").await;
    assert_eq!(response.status, 500, "{}", response.text());
}
