//! Triton's flags that set nothing here. A command line that was written for Triton starts the server all
//! the same: what only tunes is taken note of in the log, and what would change the answers is refused by name.

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, error::Error};

/// Those that were given, with their values, in the order of the table.
#[derive(Clone, Debug, Default)]
pub(super) struct TritonFlags(Vec<(&'static Flag, String)>);

impl TritonFlags {
    /// Refuses what nothing here can stand in for.
    ///
    /// # Errors
    /// Names the flag, and says why.
    pub(super) fn check(&self) -> Result<()> {
        for (flag, value) in &self.0 {
            if let Effect::Refused(why) = flag.effect
                && !flag.is_idle(value)
            {
                bail!("--{} {value}: {why}", flag.name);
            }
        }
        Ok(())
    }

    /// One line for each that has no effect though it says something.
    pub(super) fn notices(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|(flag, value)| match flag.effect {
            Effect::None(why) if !flag.is_idle(value) => {
                Some(format!("--{} {value} has no effect: {why}", flag.name))
            }
            _ => None,
        })
    }
}

impl Args for TritonFlags {
    fn augment_args(command: Command) -> Command {
        let arg = |flag: &Flag| {
            Arg::new(flag.name)
                .long(flag.name)
                .value_name("VALUE")
                .action(ArgAction::Append)
                .hide(true)
        };
        command.args(FLAGS.iter().map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for TritonFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let values = |flag: &'static Flag| {
            let values = matches.get_many::<String>(flag.name).unwrap_or_default();
            values.map(move |value| (flag, value.clone()))
        };
        Ok(Self(FLAGS.iter().flat_map(values).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A row of the table.
#[derive(Debug)]
struct Flag {
    name: &'static str,
    /// The value that asks for nothing, in any case.
    idle: &'static str,
    effect: Effect,
}

#[derive(Debug)]
enum Effect {
    /// The server answers the same with and without it.
    None(&'static str),
    /// Who gives it would get something else than they asked for.
    Refused(&'static str),
}

impl Flag {
    fn is_idle(&self, value: &str) -> bool {
        value.eq_ignore_ascii_case(self.idle) || (self.idle == "false" && value == "0")
    }
}

const fn without_effect(name: &'static str, why: &'static str) -> Flag {
    unless(name, "", why)
}

/// Without effect, and without a notice if it is `idle`.
const fn unless(name: &'static str, idle: &'static str, why: &'static str) -> Flag {
    Flag {
        name,
        idle,
        effect: Effect::None(why),
    }
}

const fn refused(name: &'static str, why: &'static str) -> Flag {
    Flag {
        name,
        idle: "false",
        effect: Effect::Refused(why),
    }
}

const THREADS: &str = "all front doors share the threads of --front-door-threads";
const PARTS: &str = "backends are part of the program";
const CACHE: &str = "there is no response cache yet, every request is run";
const LIMITER: &str = "there is no rate limiter yet, instances run when they have work";
const PINGS: &str = "idle gRPC connections are asked every minute whether their clients are there";
const AGE: &str = "connections are not ended for their age";
const PORTS: &str = "a port is not shared with other processes";
const NO_DOOR: &str = "there is no such front door";

#[rustfmt::skip]
static FLAGS: [Flag; 37] = [
    without_effect("http-thread-count", THREADS),
    without_effect("grpc-infer-thread-count", THREADS),
    without_effect("grpc-infer-allocation-pool-size", "nothing is kept from one request for the next"),
    without_effect("grpc-keepalive-time", PINGS),
    without_effect("grpc-keepalive-timeout", PINGS),
    without_effect("grpc-keepalive-permit-without-calls", PINGS),
    without_effect("grpc-http2-max-pings-without-data", PINGS),
    without_effect("grpc-http2-min-recv-ping-interval-without-data", PINGS),
    without_effect("grpc-http2-max-ping-strikes", PINGS),
    without_effect("grpc-max-connection-age", AGE),
    without_effect("grpc-max-connection-age-grace", AGE),
    unless("reuse-http-port", "false", PORTS),
    unless("reuse-grpc-port", "false", PORTS),
    without_effect("backend-directory", PARTS),
    without_effect("repoagent-directory", "there are no repository agents"),
    without_effect("cache-directory", CACHE),
    without_effect("cache-config", CACHE),
    unless("response-cache-byte-size", "0", CACHE),
    unless("rate-limit", "off", LIMITER),
    without_effect("rate-limit-resource", LIMITER),
    unless("model-load-retry-count", "0", "a load that failed is tried again when it is asked for, or when files change"),
    without_effect("buffer-manager-thread-count", "instances copy their own inputs and outputs"),
    without_effect("pinned-memory-pool-byte-size", "gpu.pinned_memory_pool_byte_size in the --config file is the size for each GPU"),
    without_effect("cuda-memory-pool-byte-size", "an instance takes its device memory when it loads"),
    without_effect("cuda-virtual-address-size", "there is no state that grows"),
    without_effect("enable-peer-access", "GPUs do not read each other's memory"),
    unless("allow-cpu-metrics", "true", "nv_cpu_* are always there"),
    without_effect("metrics-config", "counters and histograms are always there; there are no summaries"),
    without_effect("sagemaker-port", NO_DOOR),
    without_effect("sagemaker-safe-port-range", NO_DOOR),
    without_effect("sagemaker-thread-count", NO_DOOR),
    without_effect("vertex-ai-port", NO_DOOR),
    without_effect("vertex-ai-thread-count", NO_DOOR),
    without_effect("vertex-ai-default-model", NO_DOOR),
    refused("allow-sagemaker", "there is no front door for SageMaker; KServe v2 is spoken over HTTP and gRPC"),
    refused("allow-vertex-ai", "there is no front door for Vertex AI; KServe v2 is spoken over HTTP and gRPC"),
    refused("model-namespacing", "a model's name must be unique over all repositories"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn given(arguments: &[&str]) -> TritonFlags {
        let command = TritonFlags::augment_args(Command::new("serve"));
        let arguments = ["serve"].iter().chain(arguments);
        TritonFlags::from_arg_matches(&command.get_matches_from(arguments)).unwrap()
    }

    #[test]
    fn what_only_tunes_is_told_and_what_asks_for_nothing_is_not() {
        let flags = given(&[
            "--http-thread-count=16",
            "--rate-limit",
            "off",
            "--allow-sagemaker=False",
            "--model-namespacing=0",
            "--allow-cpu-metrics=true",
            "--rate-limit-resource=R1:10",
            "--rate-limit-resource=R2:5:0",
        ]);
        assert!(flags.check().is_ok());
        let notices: Vec<_> = flags.notices().collect();
        let starts: Vec<_> = notices
            .iter()
            .filter_map(|line| line.split(" has").next())
            .collect();
        let expected = [
            "--http-thread-count 16",
            "--rate-limit-resource R1:10",
            "--rate-limit-resource R2:5:0",
        ];
        assert_eq!(starts, expected);
    }

    #[test]
    fn what_would_change_the_answers_is_refused_by_name() {
        for flag in ["allow-sagemaker", "allow-vertex-ai", "model-namespacing"] {
            let error = given(&[&format!("--{flag}=true")]).check().unwrap_err();
            assert!(error.to_string().starts_with(&format!("--{flag} true: ")));
        }
    }
}
