//! Limits on who calls: the length of a credential, and how many principals are counted.

use std::{fs, process::Command};

use tempfile::TempDir;
use tonic::{Code, Request, Status};

use super::{
    Answer, GrpcInferenceServiceClient, Limited, beyond, changed, message, refused, within,
};

/// A server with these limits that knows `names`, who may do everything, within these quotas.
struct Guarded {
    limited: Limited,
    keys: Vec<String>,
    _folder: TempDir,
}

impl Guarded {
    fn new(limits: &[&str], names: &[&str], quota: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("write");
            path.to_str().expect("UTF-8").to_owned()
        };
        let (keys, entries): (Vec<_>, Vec<_>) = names.iter().map(|name| new_key(name)).unzip();
        let file = write("keys.yaml", format!("keys:\n{}", entries.concat()));
        let policy = format!(
            "roles:\n  all: {{ allow: [{{ verbs: ['*'] }}], quota: {{ {quota} }} }}\n\
             anonymous: []\nauthenticated: [all]\n"
        );
        let policy = write("policy.yaml", policy);
        let settings = format!("auth: {{ keys: {file}, policy: {policy} }}\n");
        Self {
            limited: Limited::with(limits, &settings),
            keys,
            _folder: folder,
        }
    }

    fn post(&self, key: &str, body: &[u8]) -> Answer {
        let bearer = format!("Bearer {key}");
        let headers = [("Authorization", bearer.as_str())];
        self.limited.post("echo", &headers, body)
    }

    fn call(&self, key: &str, size: usize) -> Result<(), Status> {
        let mut request = Request::new(message("echo", &["INPUT0"], size));
        let bearer = format!("Bearer {key}").parse().expect("ASCII");
        request.metadata_mut().insert("authorization", bearer);
        self.limited.runtime.block_on(async {
            let channel = self.limited.connect().await?;
            let mut client = GrpcInferenceServiceClient::new(channel);
            client.model_infer(request).await.map(drop)
        })
    }
}

/// A new key, and its line in the file of keys.
fn new_key(name: &str) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_despina"));
    let output = command.args(["key", "new", name]).output().expect("key");
    assert!(output.status.success());
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stderr).trim().to_owned(), text(output.stdout))
}

#[test]
pub(super) fn bytes_of_a_credential() {
    let scheme = "Bearer ".len();
    let length = scheme + new_key("a").0.len();
    let limit = format!("credential_byte_size: {length}");
    let guarded = Guarded::new(&[&limit], &["a"], "");
    let key = &guarded.keys[0];
    within(&guarded.post(key, &changed(|_| ())));
    guarded.call(key, 1).expect("within the limit");
    let longer = format!("{key}x");
    let words = format!("{} bytes exceeds the limit of {length} bytes", length + 1);
    beyond(&guarded.post(&longer, &changed(|_| ())), 401, &words);
    refused(guarded.call(&longer, 1), Code::Unauthenticated, &words);
}

#[test]
pub(super) fn principals_with_quotas() {
    // What these requests bring takes longer to be forgotten than any test takes.
    let (quota, size) = ("input_bytes_per_second: 1", 10_000);
    let names = ["a", "b", "c"];
    let guarded = Guarded::new(&["principals: 2"], &names, quota);
    let [a, b, c] = [0, 1, 2].map(|index| guarded.keys[index].as_str());
    guarded.call(a, size).expect("one principal");
    guarded.call(b, size).expect("two principals");
    let words = "more than 2 principals with quotas are active";
    beyond(&guarded.post(c, &changed(|_| ())), 429, words);
    refused(guarded.call(c, 1), Code::ResourceExhausted, words);
    // Who is counted already is told of their own quota.
    let words = "1 bytes of inputs a second";
    let answer = guarded.post(a, &changed(|_| ()));
    beyond(&answer, 429, words);
    let wait = |text: &str| text.parse::<usize>().expect("a number");
    assert!(wait(answer.header("retry-after").expect("when")) > size / 2);
    let status = guarded.call(a, 1).expect_err("beyond the quota");
    let pushback = status
        .metadata()
        .get("grpc-retry-pushback-ms")
        .expect("when");
    assert!(wait(pushback.to_str().expect("ASCII")) > 1000 * size / 2);
    refused(Err(status), Code::ResourceExhausted, words);
    let guarded = Guarded::new(&["principals: 3"], &names, quota);
    for key in &guarded.keys {
        guarded.call(key, size).expect("three principals");
    }
}
