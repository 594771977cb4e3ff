//! Certificates for tests, made by openssl.

use std::path::PathBuf;
use std::process::Command;

use super::directory::Directory;
use super::programs::run;

/// An authority, and a certificate of it for `localhost` and 127.0.0.1.
#[derive(Debug)]
pub struct Certificates {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    _directory: Directory,
}

impl Certificates {
    /// Makes new ones.
    pub fn make() -> Self {
        let directory = Directory::new();
        let authority = directory.file("authority.pem");
        let certificate = directory.file("server.pem");
        let key = directory.file("server.key");
        let extensions = directory.write("extensions", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
        let authority_key = directory.file("authority.key");
        let request = directory.file("server.csr");

        let mut make_authority = new_key("/CN=Authority of a test", &authority_key, &authority);
        run(make_authority.args(["-x509", "-days", "2", "-addext", "keyUsage=critical,keyCertSign"]));
        run(&mut new_key("/CN=localhost", &key, &request));
        run(Command::new("openssl")
            .args(["x509", "-req", "-days", "2", "-CAcreateserial", "-in"])
            .arg(&request)
            .arg("-CA")
            .arg(&authority)
            .arg("-CAkey")
            .arg(&authority_key)
            .arg("-extfile")
            .arg(extensions)
            .arg("-out")
            .arg(&certificate));
        Self { authority, certificate, key, _directory: directory }
    }
}

/// `openssl req` with a new key.
fn new_key(subject: &str, key: &PathBuf, out: &PathBuf) -> Command {
    let mut command = Command::new("openssl");
    command.args(["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    command.args(["-subj", subject, "-keyout"]).arg(key).arg("-out").arg(out);
    command
}
