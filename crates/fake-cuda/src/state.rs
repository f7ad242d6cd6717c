//! Everything that the library knows, made at the first call.

use std::{
    env,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Instant,
};

use crate::{
    code::Code,
    counters,
    device::Device,
    event::Event,
    graph::Graph,
    kernels::Kernel,
    memory::Memory,
    settings::{self, Settings},
    stream::Stream,
    table::{Handle, Table},
};

/// The one state of driver and NVML.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) memory: Memory,
    pub(crate) streams: Table<Stream>,
    pub(crate) events: Table<Event>,
    pub(crate) graphs: Table<Graph>,
    pub(crate) modules: Table<Module>,
    pub(crate) functions: Table<Function>,
    pub(crate) started: Instant,
    devices: Vec<Device>,
}

/// A loaded module.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) device: usize,
}

/// A kernel of a module.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) module: Handle,
    pub(crate) kernel: &'static Kernel,
}

/// The state.
pub(crate) fn state() -> &'static State {
    static STATE: OnceLock<State> = OnceLock::new();
    STATE.get_or_init(State::new)
}

impl State {
    fn new() -> Self {
        let settings = Settings::read();
        let file = env::var_os("FAKE_CUDA_COUNTERS").map(PathBuf::from);
        let counters = counters::map(file.as_deref());
        let devices = (0..settings.device_count)
            .zip(counters)
            .map(|(ordinal, counters)| {
                Device::new(ordinal, &settings, settings::faults(ordinal), counters)
            })
            .collect();
        Self {
            devices,
            memory: Memory::default(),
            streams: Table::default(),
            events: Table::default(),
            graphs: Table::default(),
            modules: Table::default(),
            functions: Table::default(),
            started: Instant::now(),
            settings,
        }
    }

    pub(crate) fn devices(&self) -> &[Device] {
        &self.devices
    }

    pub(crate) fn device(&self, ordinal: usize) -> Result<&Device, Code> {
        self.devices.get(ordinal).ok_or(Code::INVALID_DEVICE)
    }

    /// Waits until a device has done all that its streams were given.
    pub(crate) fn synchronize(&self, device: usize) -> Result<(), Code> {
        for stream in self.streams.values() {
            if stream.device == device && !stream.is_capturing() {
                stream.synchronize()?;
            }
        }
        default_stream(self.device(device)?).synchronize()
    }
}

/// The stream that has no handle.
pub(crate) fn default_stream(device: &Device) -> &Arc<Stream> {
    device
        .default_stream
        .get_or_init(|| Arc::new(Stream::new(device.ordinal, 0)))
}
