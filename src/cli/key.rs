//! `despina key`: makes API keys, and the entries of the file of keys by which the server knows
//! them. Keys are never taken from the command line, which other users of the machine can see.

use std::{
    io::{Read, stdin},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::admission::auth::{LEAST_KEY_BYTE_SIZE, key_entry, new_key};

/// Bytes that are read of a key on standard input.
const MOST_BYTE_SIZE: u64 = 8 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a new key.
    ///
    /// Prints the key to standard error, to be given to whoever will use it, and to standard output
    /// the entry for the file of keys.
    New(Holder),
    /// Print the entry for a key of your own, which is read from standard input.
    Hash(Holder),
}

/// Whose key it is.
#[derive(Args, Debug)]
pub(super) struct Holder {
    /// The name by which policies and logs know the holder (as `key:<NAME>`).
    name: String,
    /// A role that comes with the key. May be given more than once.
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
}

pub(super) fn run(command: &KeyCommand) -> Result<ExitCode> {
    match command {
        KeyCommand::New(holder) => {
            let key = new_key().context("the system gives no random numbers")?;
            eprintln!("{key}");
            print!("{}", key_entry(&holder.name, &key, &holder.role));
        }
        KeyCommand::Hash(holder) => {
            let key = read_key(stdin().lock())?;
            print!("{}", key_entry(&holder.name, &key, &holder.role));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read_key(input: impl Read) -> Result<String> {
    let mut text = String::new();
    input
        .take(MOST_BYTE_SIZE)
        .read_to_string(&mut text)
        .context("cannot read a key from standard input")?;
    let key = text.trim();
    if key.len() < LEAST_KEY_BYTE_SIZE {
        bail!(
            "the key has {} bytes and needs {LEAST_KEY_BYTE_SIZE}: a short one could be guessed \
             from its hash. `despina key new` makes a good one",
            key.len()
        );
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("the key must be visible ASCII without spaces, for it travels in a header field");
    }
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_long_and_can_travel_in_a_header_field() {
        let good = "x".repeat(32);
        assert_eq!(read_key(format!("{good}\n").as_bytes()).unwrap(), good);
        for bad in ["x".repeat(31), format!("{good} y"), format!("{good}ö")] {
            assert!(read_key(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
