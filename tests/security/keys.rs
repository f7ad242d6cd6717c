//! API keys and the policy.

use std::io::Write;

use crate::{
    common::{PATIENCE, Server, run_module, wait_until},
    rig::{Files, INFER, ask_as, new_key, repository},
};

const POLICY: &str = "
roles:
  probe:
    allow: [{ verbs: [health] }]
  user:
    allow: [{ verbs: [infer, metadata, index, statistics], models: [open] }]
  operator:
    allow: [{ verbs: ['*'] }]
    deny: [{ verbs: [infer], models: [closed] }]
anonymous: [probe]
authenticated: [probe]
principals:
  'key:olga': [operator]
";

const EXPLICIT: [&str; 6] = [
    "--model-control-mode",
    "explicit",
    "--load-model",
    "open",
    "--load-model",
    "closed",
];

#[test]
fn each_caller_may_do_what_the_policy_says() {
    let (files, repository) = (Files::new(), repository());
    let (user, user_entry) = new_key("ursula", &["user"]);
    let (operator, operator_entry) = new_key("olga", &[]);
    let keys = files.write("keys.yaml", &format!("keys:\n{user_entry}{operator_entry}"));
    let policy = files.write("policy.yaml", POLICY);
    let flags = [
        "--auth-keys",
        &keys,
        "--auth-policy",
        &policy,
        "--log",
        "trace",
    ];
    let server = Server::start_plain(repository.path(), &[&EXPLICIT[..], &flags].concat());
    let load = "/v2/repository/models/open/load";
    let (open, closed) = ("/v2/models/open/infer", "/v2/models/closed/infer");
    let index = "/v2/repository/index";
    for (key, path, body, status) in [
        ("", "/v2/health/live", "", 200),
        ("", "/v2/models/open/ready", "", 200),
        ("", "/v2/models/open", "", 401),
        ("", open, INFER, 401),
        ("", load, "{}", 401),
        ("", "/v2", "", 401),
        (&user, open, INFER, 200),
        (&user, closed, INFER, 403),
        (&user, "/v2/models/open/config", "", 403),
        (&user, "/v2/models/nowhere/infer", INFER, 403),
        (&user, index, "{}", 200),
        (&user, load, "{}", 403),
        (&operator, load, "{}", 200),
        (&operator, open, INFER, 200),
        (&operator, closed, INFER, 403),
        ("despina_nobodys", "/v2/health/live", "", 401),
    ] {
        let answer = ask_as(key, server.http, path, body);
        assert_eq!(answer.status, status, "{key} {path}: {}", answer.text());
        let challenge = (status == 401).then_some("Bearer");
        assert_eq!(answer.header("www-authenticate"), challenge, "{path}");
    }
    let shown = ask_as(&user, server.http, index, "{}").json();
    assert_eq!(shown[0]["name"], "open");
    assert_eq!(shown.as_array().map(Vec::len), Some(1), "{shown}");
    let all = ask_as(&user, server.http, "/v2/models/stats", "").json();
    assert_eq!(
        all["model_stats"].as_array().map(Vec::len),
        Some(1),
        "{all}"
    );
    assert_eq!(ask_as("", server.metrics, "/metrics", "").status, 401);
    assert_eq!(
        ask_as(&operator, server.metrics, "/metrics", "").status,
        200
    );
    server.terminate();
    let ended = server.wait(PATIENCE);
    assert_eq!(ended.code, Some(0));
    for secret in [&user, &operator] {
        assert!(
            !ended.stderr.contains(secret.as_str()),
            "a key is in the log"
        );
    }
}

#[test]
fn tritonclient_sends_keys_over_both_protocols() {
    let (files, repository) = (Files::new(), repository());
    let (key, entry) = new_key("ursula", &[]);
    let keys = files.write("keys.yaml", &format!("keys:\n{entry}"));
    let server = Server::start_plain(repository.path(), &["--auth-keys", &keys]);
    run_module(
        "test_auth",
        &[
            ("DESPINA_HTTP", &server.http.to_string()),
            ("DESPINA_GRPC", &server.grpc.to_string()),
            ("DESPINA_KEY", &key),
        ],
    );
    server.stop();
}

#[test]
fn keys_and_policies_are_followed_and_broken_ones_change_nothing() {
    let (files, repository) = (Files::new(), repository());
    let (first, first_entry) = new_key("first", &[]);
    let (second, second_entry) = new_key("second", &[]);
    let keys = files.write("keys.yaml", &format!("keys:\n{first_entry}"));
    let server = Server::start_plain(repository.path(), &["--auth-keys", &keys]);
    let status = |key: &str| ask_as(key, server.http, "/v2", "").status;
    assert_eq!((status(&first), status(&second)), (200, 401));
    files.write("keys.yaml", &format!("keys:\n{second_entry}"));
    wait_until("the second key is known", || status(&second) == 200);
    assert_eq!(status(&first), 401);
    files.write("keys.yaml", &format!("keys:\n{second_entry}{first_entry}"));
    wait_until("the first key is known again", || status(&first) == 200);
    assert_eq!(status(&second), 200);
    files.write("keys.yaml", "kees: []\n");
    wait_until("the broken file is reported", || {
        server.log().contains("stays in force")
    });
    assert!(
        server.log().contains("did you mean `keys`?"),
        "{}",
        server.log()
    );
    assert_eq!((status(&first), status(&second)), (200, 200));
    server.stop();
}

#[test]
fn files_that_make_no_sense_are_refused_at_start_with_their_place() {
    let (files, repository) = (Files::new(), repository());
    for (flag, text, message) in [
        (
            "--auth-policy",
            "roles:\n  a:\n    alow: []\n",
            "policy.yaml:3:5: roles.a: unknown field `alow`",
        ),
        (
            "--auth-policy",
            "roles:\n  a:\n    allow: [{ verbs: [infr] }]\n",
            "did you mean `infer`?",
        ),
        (
            "--auth-policy",
            "anonymous: [probe]\n",
            "anonymous: no role is called `probe`",
        ),
        (
            "--auth-keys",
            "keys: [{ name: a }]\n",
            "missing field `sha256`",
        ),
    ] {
        let file = files.write("policy.yaml", text);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_despina"))
            .arg("serve")
            .arg("--model-repository")
            .arg(repository.path())
            .args([
                "--http-port=0",
                "--grpc-port=0",
                "--metrics-port=0",
                flag,
                &file,
            ])
            .output()
            .expect("despina serve");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && stderr.contains(message),
            "{stderr}"
        );
    }
}

#[test]
fn a_key_of_ones_own_is_hashed_without_being_shown() {
    let key = "an-own-key-of-at-least-32-characters";
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_despina"))
        .args(["key", "hash", "alice"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("despina key hash");
    child
        .stdin
        .take()
        .expect("stdin")
        .write_all(key.as_bytes())
        .expect("write");
    let output = child.wait_with_output().expect("output");
    let entry = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        entry.starts_with("  - name: \"alice\"\n    sha256: "),
        "{entry}"
    );
    assert!(!entry.contains(key));
}

#[test]
fn who_asks_for_too_much_is_told_when_to_come_again() {
    let (files, repository) = (Files::new(), repository());
    let (greedy, greedy_entry) = new_key("greedy", &["slow"]);
    let (large, large_entry) = new_key("large", &["narrow"]);
    let (free, free_entry) = new_key("free", &[]);
    let keys = files.write(
        "keys.yaml",
        &format!("keys:\n{greedy_entry}{large_entry}{free_entry}"),
    );
    let policy = files.write(
        "policy.yaml",
        "roles:\n  user: { allow: [{ verbs: [infer, health] }] }\n  \
         slow: { quota: { requests_per_second: 1, request_burst: 2 } }\n  \
         narrow: { quota: { input_bytes_per_second: 1 } }\n\
         authenticated: [user]\n",
    );
    let flags = ["--auth-keys", &keys, "--auth-policy", &policy];
    let server = Server::start_plain(repository.path(), &flags);
    let infer = |key: &str| ask_as(key, server.http, "/v2/models/open/infer", INFER);
    let statuses = [(); 4].map(|()| infer(&greedy).status);
    assert!(
        statuses[..2] == [200, 200] && statuses.contains(&429),
        "{statuses:?}"
    );
    let answer = infer(&greedy);
    if answer.status == 429 {
        assert!(
            answer.text().contains("1 requests a second"),
            "{}",
            answer.text()
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    // Eight bytes at one a second: the next request has to wait for seven.
    assert_eq!(infer(&large).status, 200);
    let answer = infer(&large);
    assert_eq!(answer.status, 429, "{}", answer.text());
    let wait: u64 = answer
        .header("retry-after")
        .expect("a time")
        .parse()
        .expect("seconds");
    assert!((5..=8).contains(&wait), "{wait}");
    assert!([(); 9].iter().all(|()| infer(&free).status == 200));
    let health = ask_as(&greedy, server.http, "/v2/health/live", "");
    assert_eq!(health.status, 200);
    server.stop();
}
