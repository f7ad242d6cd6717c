//! The bodies of what reads credentials.

#[path = "../../fuzz/bodies/auth.rs"]
mod bodies;

use super::run;

#[test]
fn tokens_and_key_sets() {
    run("token", bodies::token);
}

#[test]
fn header_fields_with_credentials() {
    run("credential", bodies::header);
}
