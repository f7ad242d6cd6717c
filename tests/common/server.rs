//! One running `despina serve`.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use super::{
    PATIENCE,
    http::{Answer, call},
    python::python,
};

/// A server on free ports; killed with the value unless it was waited for.
#[derive(Debug)]
pub struct Server {
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// Where gRPC listens.
    pub grpc: SocketAddr,
    /// Where metrics are.
    pub metrics: SocketAddr,
    /// Where management is answered, over HTTP and over gRPC, if it has places of its own.
    pub management: [Option<SocketAddr>; 2],
    child: Child,
    /// What the server has written to stderr so far.
    log: Log,
    /// What the server wrote to stderr, once it has closed it, that is, has ended.
    stderr: mpsc::Receiver<String>,
}

type Log = Arc<Mutex<Vec<u8>>>;

/// How a server ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal killed it.
    pub code: Option<i32>,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Server {
    /// Starts a server that finds ONNX Runtime, and waits until it is ready.
    pub fn start(repository: &Path, flags: &[&str]) -> Self {
        let library = python().onnxruntime;
        Self::launch(repository, flags, |command| {
            command.env("ORT_DYLIB_PATH", library);
        })
    }

    /// Starts a server that needs no ONNX Runtime, and waits until it is ready.
    pub fn start_plain(repository: &Path, flags: &[&str]) -> Self {
        Self::launch(repository, flags, |_| {})
    }

    /// Starts a server that needs no ONNX Runtime, with these environment variables, and waits until it
    /// is ready.
    pub fn start_in(repository: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::launch(repository, flags, |command| {
            command.envs(environment.iter().copied());
        })
    }

    /// Starts a server under callgrind, which writes to `counts` when it ends, and waits until it is
    /// ready.
    pub fn start_counted(repository: &Path, counts: &Path) -> Self {
        let mut command = Command::new("valgrind");
        command
            .arg("--tool=callgrind")
            .arg("--quiet")
            .arg("--error-exitcode=0");
        command.arg(format!("--callgrind-out-file={}", counts.display()));
        command.arg(env!("CARGO_BIN_EXE_despina"));
        let flags = ["--onnxruntime-download", "false"];
        Self::launch_by(command, repository, &flags, |_| {})
    }

    fn launch(repository: &Path, flags: &[&str], prepare: impl FnOnce(&mut Command)) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_despina"));
        Self::launch_by(command, repository, flags, prepare)
    }

    fn launch_by(
        mut command: Command,
        repository: &Path,
        flags: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        command
            .arg("serve")
            .arg("--model-repository")
            .arg(repository);
        for port in ["--http-port", "--grpc-port", "--metrics-port"] {
            command.args([port, "0"]);
        }
        command.args(flags);
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        prepare(&mut command);
        let mut child = command.spawn().expect("start the server");
        let ready = ready_addresses(child.stdout.take().expect("stdout"));
        let log = Log::default();
        let stderr = everything(child.stderr.take().expect("stderr"), Arc::clone(&log));
        match ready.recv_timeout(PATIENCE) {
            Ok(([http, grpc, metrics], management)) => Self {
                http,
                grpc,
                metrics,
                management,
                child,
                log,
                stderr,
            },
            Err(reason) => {
                let _ = child.kill();
                let stderr = stderr.recv_timeout(PATIENCE).unwrap_or_default();
                panic!("{command:?} was not ready ({reason}):\n{stderr}");
            }
        }
    }

    /// One HTTP request on a connection of its own.
    pub fn call(&self, method: &str, path: &str, json: &str) -> Answer {
        call(self.http, method, path, json)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Whether `GET /v2/health/ready` answers 200.
    pub fn is_ready(&self) -> bool {
        call(self.http, "GET", "/v2/health/ready", "").is_ok_and(|answer| answer.status == 200)
    }

    /// How many files and sockets it has open.
    pub fn open_files(&self) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        files.expect("open files").count()
    }

    /// What it has written to stderr so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().expect("log")).into_owned()
    }

    /// For each thread of that name, the cores that it may run on, as the kernel writes them.
    pub fn cores_of(&self, thread: &str) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("threads");
        let named = tasks.flatten().filter(|task| {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            name.trim() == thread
        });
        named
            .map(|task| allowed_cores(&task.path().join("status")))
            .collect()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let sent = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(sent.success(), "SIGTERM was not sent");
    }

    /// Waits until the server has ended; fails if that takes longer than `bound`.
    pub fn wait(mut self, bound: Duration) -> Ended {
        let stderr = self
            .stderr
            .recv_timeout(bound)
            .unwrap_or_else(|_| panic!("the server still runs after {bound:?}"));
        let status = self.child.wait().expect("wait");
        Ended {
            code: status.code(),
            stderr,
        }
    }

    /// SIGTERM, and [`Server::wait`] with [`PATIENCE`]; the exit must be clean.
    pub fn stop(self) {
        self.terminate();
        let ended = self.wait(PATIENCE);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let stderr = self.stderr.recv_timeout(PATIENCE).unwrap_or_default();
            let begin = stderr.len().saturating_sub(8192);
            let tail = String::from_utf8_lossy(&stderr.as_bytes()[begin..]);
            eprintln!("the server's log ends:\n{tail}");
        }
    }
}

/// The cores that the thread with this `status` may run on.
pub fn allowed_cores(status: &Path) -> String {
    let status = fs::read_to_string(status).expect("status of a thread");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.expect("Cpus_allowed_list").trim().to_owned()
}

type ReadyAddresses = ([SocketAddr; 3], [Option<SocketAddr>; 2]);

/// Reads stdout to its end; sends the addresses when the list of models begins, which follows them.
fn ready_addresses(stdout: impl Read + Send + 'static) -> mpsc::Receiver<ReadyAddresses> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut found = [None; 5];
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let mut words = line.split_whitespace();
            let index = match words.next() {
                Some("http") => 0,
                Some("grpc") => 1,
                Some("metrics") => 2,
                Some("manage") if line.ends_with("(gRPC)") => 4,
                Some("manage") => 3,
                Some("models") => {
                    let [http, grpc, metrics, management @ ..] = found;
                    if let (Some(http), Some(grpc), Some(metrics)) = (http, grpc, metrics) {
                        let _ = sender.send(([http, grpc, metrics], management));
                    }
                    continue;
                }
                _ => continue,
            };
            found[index] = words.next().and_then(address);
        }
    });
    receiver
}

/// The socket address in `https://127.0.0.1:1234/metrics` or `127.0.0.1:1234`.
fn address(url: &str) -> Option<SocketAddr> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next()?.parse().ok()
}

/// Reads a stream into `log`; sends all of it at its end.
fn everything(mut stream: impl Read + Send + 'static, log: Log) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut piece = vec![0; 1 << 16];
        while let Ok(length @ 1..) = stream.read(&mut piece) {
            log.lock().expect("log").extend_from_slice(&piece[..length]);
        }
        let bytes = log.lock().expect("log");
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}
