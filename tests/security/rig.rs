//! What the tests of this folder share: a server with one model, files with secrets, clients.

use std::{fs, net::SocketAddr, path::PathBuf, process::Command};

use tempfile::TempDir;

use crate::common::{Answer, Connection, Repository, identity_config};

/// A folder for the files of a test.
pub struct Files(TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file whole, as a careful operator would; returns its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let staged = self.path(&format!(".{name}"));
        fs::write(&staged, text).expect("write");
        fs::rename(&staged, self.path(name)).expect("rename");
        self.path(name).to_str().expect("UTF-8").to_owned()
    }
}

/// A new key and its entry, as `despina key new` makes them.
pub fn new_key(name: &str, roles: &[&str]) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_despina"));
    command.args(["key", "new", name]);
    for role in roles {
        command.args(["--role", role]);
    }
    let output = command.output().expect("despina key");
    assert!(output.status.success());
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stderr).trim().to_owned(), text(output.stdout))
}

/// A repository with the models `open` and `closed`, of which a control call can load more.
pub fn repository() -> Repository {
    let repository = Repository::empty();
    for model in ["open", "closed"] {
        repository.add(model, &identity_config("TYPE_FP32", 0, ""), &[1]);
    }
    repository
}

/// An inference request.
pub const INFER: &str =
    r#"{"inputs":[{"name":"INPUT0","datatype":"FP32","shape":[2],"data":[1,2]}]}"#;

/// One request with these header fields; `POST` if it has a body.
pub fn ask(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let method = if body.is_empty() { "GET" } else { "POST" };
    Connection::open(address)
        .and_then(|mut connection| connection.request(method, path, headers, body.as_bytes()))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// As [`ask`], with `key` if it is not empty.
pub fn ask_as(key: &str, address: SocketAddr, path: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    let headers = [("Authorization", bearer.as_str())];
    let headers = if key.is_empty() { &[][..] } else { &headers };
    ask(address, path, headers, body)
}
