//! The body of what reads the header of a plan.

#[path = "../../fuzz/bodies/plan.rs"]
mod bodies;

use super::run;

#[test]
fn headers_of_plans() {
    run("plan", bodies::plan);
}
