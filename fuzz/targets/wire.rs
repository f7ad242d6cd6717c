#![no_main]

#[path = "../bodies/wire.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(
    init: {
        // As the standard library has it in programs with a main function of their own: who writes to
        // a connection that is gone gets an error.
        // SAFETY: no thread has been started yet, and the value is one that `signal` takes.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    },
    |data: &[u8]| bodies::wire(data)
);
