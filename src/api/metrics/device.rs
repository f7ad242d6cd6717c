//! What the devices in use have and gave. Devices that no model used are left out: they were not
//! opened.

use std::{collections::BTreeMap, fmt::Display, sync::Arc, time::Duration};

use super::Reading;
use crate::{
    device::{Account, OpenDevice, PoolUsage, Purpose},
    telemetry::exposition::{Exposition, Kind},
};

/// A family's name, its kind and help, and where its value is.
type Family = (&'static str, Kind, &'static str, fn(&PoolUsage) -> u64);

/// A gauge's name, its help, and what is added up.
type Total = (&'static str, &'static str, fn(&PoolUsage) -> usize);

/// Writes a family for each number, one series for each device, and Triton's of the pools, one for all.
pub(super) fn write(exposition: &mut Exposition, devices: &[Arc<OpenDevice>]) {
    let mut family = |name, kind, help, value: &dyn Fn(&OpenDevice) -> Box<dyn Display>| {
        exposition.family(name, kind, help);
        for device in devices {
            exposition.series(name, &[("gpu_uuid", device.uuid())], value(device));
        }
    };
    family(
        "despina_gpu_lost",
        Kind::Gauge,
        "Whether the GPU can no longer be used by this process (1) or can (0)",
        &|device| Box::new(u8::from(device.lost().is_some())),
    );
    let pools: [Family; 3] = [
        (
            "despina_pinned_pool_bytes",
            Kind::Gauge,
            "Pinned host memory for the GPU, in bytes",
            |usage| usage.byte_size as u64,
        ),
        (
            "despina_pinned_pool_used_bytes",
            Kind::Gauge,
            "Pinned host memory that batches hold, in bytes, rounded up to size classes",
            |usage| usage.used_byte_size as u64,
        ),
        (
            "despina_pinned_pool_overflow_total",
            Kind::Counter,
            "Times that pinned host memory was used up and ordinary memory was taken",
            |usage| usage.overflow_count,
        ),
    ];
    for (name, kind, help, value) in pools {
        family(name, kind, help, &|device| {
            Box::new(value(&device.pinned().usage()))
        });
    }
    write_totals(exposition, devices);
}

/// Writes what the instances of each model take of each device that they run on.
pub(super) fn write_models(exposition: &mut Exposition, readings: &[Reading]) {
    let accounts: Vec<_> = readings
        .iter()
        .map(|reading| reading.model.accounts())
        .collect();
    let shares: Vec<_> = readings
        .iter()
        .zip(&accounts)
        .flat_map(|(reading, accounts)| {
            let shares = shares(accounts).into_iter();
            shares.map(|(uuid, share)| (reading.labels(), uuid, share))
        })
        .collect();
    let name = "despina_model_gpu_memory_bytes";
    let help = "Memory of the GPU that the model's instances hold, in bytes, by what it is for";
    exposition.family(name, Kind::Gauge, help);
    for ([model, version], uuid, share) in &shares {
        for (purpose, byte_size) in Purpose::ALL.iter().zip(share.byte_sizes) {
            let purpose = ("purpose", purpose.label());
            let labels = [*model, *version, ("gpu_uuid", *uuid), purpose];
            exposition.series(name, &labels, byte_size);
        }
    }
    let name = "despina_model_gpu_busy_seconds_total";
    let help = "How long the GPU has computed for the model, in seconds";
    exposition.family(name, Kind::Counter, help);
    for ([model, version], uuid, share) in &shares {
        let labels = [*model, *version, ("gpu_uuid", *uuid)];
        exposition.series(name, &labels, share.busy.as_secs_f64());
    }
}

/// What a model takes of one device.
#[derive(Default)]
struct Share {
    /// By purpose.
    byte_sizes: [u64; 4],
    busy: Duration,
}

/// By the device's UUID.
fn shares(accounts: &[Arc<Account>]) -> BTreeMap<&str, Share> {
    let mut shares = BTreeMap::<_, Share>::new();
    for account in accounts {
        let share = shares.entry(account.device().uuid()).or_default();
        for (sum, purpose) in share.byte_sizes.iter_mut().zip(Purpose::ALL) {
            *sum = sum.saturating_add(account.byte_size(purpose));
        }
        share.busy += account.busy();
    }
    shares
}

fn write_totals(exposition: &mut Exposition, devices: &[Arc<OpenDevice>]) {
    let totals: [Total; 2] = [
        (
            "nv_pinned_memory_pool_total_bytes",
            "Pinned memory pool total memory size, in bytes",
            |usage| usage.byte_size,
        ),
        (
            "nv_pinned_memory_pool_used_bytes",
            "Pinned memory pool used memory size, in bytes",
            |usage| usage.used_byte_size,
        ),
    ];
    for (name, help, value) in totals {
        let usages = devices.iter().map(|device| device.pinned().usage());
        let total: usize = usages.map(|usage| value(&usage)).sum();
        exposition.family(name, Kind::Gauge, help);
        exposition.series(name, &[], total);
    }
}
