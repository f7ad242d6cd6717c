//! A control loop on folders of its own, with a loader that waits for the test's word.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::name;
use crate::{
    backend::Halt,
    error::Result,
    model::{LeaseGuard, Leases, LoadRequest, ModelFolder},
    repository::{
        Config, ControlMode, IndexEntry, LoadFailure, Overrides, Registry, Repository,
        VersionState, registry::Loaded, threads::Load,
    },
};

/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A model that is nothing but the number of its load.
pub(super) struct Fake {
    serial: usize,
    leases: Arc<Leases>,
    unloaded: mpsc::Sender<usize>,
    stands_in: bool,
    /// Whether nothing takes its place.
    remains: AtomicBool,
    _folder: ModelFolder,
}

pub(super) struct FakeLease {
    pub(super) serial: usize,
    _guard: LeaseGuard,
}

impl Loaded for Fake {
    type Lease = FakeLease;

    fn lease(self: &Arc<Self>) -> Option<FakeLease> {
        Some(FakeLease {
            serial: self.serial,
            _guard: self.leases.acquire()?,
        })
    }

    fn unload(&self) {
        self.leases.close();
        self.leases.wait_drained();
        let _ = self.unloaded.send(self.serial);
    }

    fn is_stand_in(&self) -> bool {
        self.stands_in
    }

    fn remark(&self) -> String {
        let remark = match (self.stands_in, self.remains.load(Ordering::SeqCst)) {
            (true, true) => "remains",
            (true, false) => "stands in",
            (false, _) => "",
        };
        remark.to_owned()
    }
}

/// A load that has begun and waits to be told how it ends.
pub(super) struct Begun {
    pub(super) model: String,
    pub(super) version: u64,
    pub(super) folder: PathBuf,
    /// What would take a stand-in's place: whether nobody wants it any more.
    pub(super) halt: Option<Halt>,
    verdict: mpsc::Sender<Result<()>>,
}

impl Begun {
    pub(super) fn end(self, verdict: Result<()>) {
        self.verdict.send(verdict).unwrap();
    }

    /// Lets the loader's thread panic.
    pub(super) fn panic(self) {
        drop(self);
    }
}

pub(super) struct FakeLoader {
    begun: mpsc::Sender<Begun>,
    unloaded: mpsc::Sender<usize>,
    serial: AtomicUsize,
    running: AtomicUsize,
    most_running: AtomicUsize,
}

impl FakeLoader {
    fn made(&self, request: &LoadRequest, stands_in: bool) -> Arc<Fake> {
        Arc::new(Fake {
            serial: self.serial.fetch_add(1, Ordering::SeqCst) + 1,
            leases: Arc::default(),
            unloaded: self.unloaded.clone(),
            stands_in,
            remains: AtomicBool::new(false),
            _folder: request.model_folder.clone(),
        })
    }
}

impl Load for FakeLoader {
    type Model = Fake;

    fn load(&self, request: &LoadRequest) -> Result<Arc<Fake>> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        let (verdict, told) = mpsc::channel();
        let begun = Begun {
            model: request.name.to_string(),
            version: request.version,
            folder: request.model_folder.to_path_buf(),
            halt: None,
            verdict,
        };
        self.begun.send(begun).unwrap();
        let told = told.recv();
        self.running.fetch_sub(1, Ordering::SeqCst);
        told.expect("the test panics this load")?;
        Ok(self.made(request, request.name.starts_with("stand-in")))
    }

    fn replace(&self, request: &LoadRequest, stand_in: &Fake, halt: &Halt) -> Result<Arc<Fake>> {
        let (verdict, told) = mpsc::channel();
        let begun = Begun {
            model: request.name.to_string(),
            version: request.version,
            folder: request.model_folder.to_path_buf(),
            halt: Some(halt.clone()),
            verdict,
        };
        self.begun.send(begun).unwrap();
        let told = told.recv().expect("the test panics this");
        told.inspect_err(|_| stand_in.remains.store(true, Ordering::SeqCst))?;
        Ok(self.made(request, false))
    }
}

pub(super) struct Rig {
    pub(super) registry: Arc<Registry<Fake>>,
    pub(super) repository: Repository<Fake>,
    loader: Arc<FakeLoader>,
    begun: Mutex<mpsc::Receiver<Begun>>,
    unloaded: Mutex<mpsc::Receiver<usize>>,
    folder: Arc<TempDir>,
}

/// A repository folder with version 1 of each of these models.
pub(super) fn folder(models: &[&str]) -> Arc<TempDir> {
    let folder = tempfile::tempdir().unwrap();
    for model in models {
        write(&folder.path().join(model).join("1/model"), "");
    }
    Arc::new(folder)
}

pub(super) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Mode explicit, nothing loaded.
pub(super) fn explicit() -> Config {
    Config {
        control_mode: ControlMode::Explicit,
        ..Config::default()
    }
}

/// Mode poll that lives by notifications alone.
pub(super) fn poll() -> Config {
    Config {
        control_mode: ControlMode::Poll,
        poll_interval: Duration::from_secs(3600),
        settle: Duration::from_millis(50),
        ..Config::default()
    }
}

impl Rig {
    pub(super) fn start(config: Config, folder: &Arc<TempDir>) -> Self {
        let (begun, begins) = mpsc::channel();
        let (unloaded, unloads) = mpsc::channel();
        let registry = Arc::new(Registry::default());
        let loader = Arc::new(FakeLoader {
            begun,
            unloaded,
            serial: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
        });
        let config = Config {
            repositories: vec![folder.path().into()],
            ..config
        };
        let repository =
            Repository::start_with(&config, Arc::clone(&registry), Arc::clone(&loader)).unwrap();
        Self {
            registry,
            repository,
            loader,
            begun: Mutex::new(begins),
            unloaded: Mutex::new(unloads),
            folder: Arc::clone(folder),
        }
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The next load that begins.
    pub(super) fn begun(&self) -> Begun {
        self.begun.lock().unwrap().recv_timeout(PATIENCE).unwrap()
    }

    pub(super) fn nothing_begun(&self) -> bool {
        self.begun.lock().unwrap().try_recv().is_err()
    }

    /// The number of the load that is undone next.
    pub(super) fn unloaded(&self) -> usize {
        self.unloaded
            .lock()
            .unwrap()
            .recv_timeout(PATIENCE)
            .unwrap()
    }

    pub(super) fn nothing_unloaded(&self) -> bool {
        self.unloaded.lock().unwrap().try_recv().is_err()
    }

    pub(super) fn most_loads_at_once(&self) -> usize {
        self.loader.most_running.load(Ordering::SeqCst)
    }

    pub(super) fn initial_failures(&self) -> Vec<LoadFailure> {
        block_on(self.repository.initial_load_finished()).unwrap()
    }

    /// Asks for a load and does not wait.
    pub(super) fn load(&self, model: &str) -> Answer {
        self.load_with(model, Overrides::default())
    }

    pub(super) fn load_with(&self, model: &str, overrides: Overrides) -> Answer {
        let (repository, model) = (self.repository.clone(), name(model));
        Answer(thread::spawn(move || {
            block_on(repository.load(model, overrides))
        }))
    }

    /// Asks for a load that goes well, and waits for it.
    pub(super) fn load_well(&self, model: &str) {
        let answer = self.load(model);
        self.begun().end(Ok(()));
        answer.wait().unwrap();
    }

    pub(super) fn unload(&self, model: &str) -> Result<()> {
        block_on(self.repository.unload(name(model), false))
    }

    /// The number of the load that serves.
    pub(super) fn serving(&self, model: &str) -> Option<usize> {
        let lease = self.registry.resolve(model, None);
        lease.ok().map(|lease| lease.serial)
    }

    pub(super) fn rows(&self, model: &str) -> Vec<(Option<u64>, Option<VersionState>, String)> {
        let index = self.registry.index(false).into_iter();
        index
            .filter(|entry: &IndexEntry| entry.name.as_str() == model)
            .map(|entry| (entry.version, entry.state, entry.reason))
            .collect()
    }

    /// Waits for a state that no message announces.
    pub(super) fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            assert!(begin.elapsed() < PATIENCE, "never happened: {what}");
            thread::yield_now();
        }
    }
}

/// An answer under way.
pub(super) struct Answer(thread::JoinHandle<Result<()>>);

impl Answer {
    pub(super) fn wait(self) -> Result<()> {
        self.0.join().unwrap()
    }
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}
