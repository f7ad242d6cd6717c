//! What is known of the GPUs: Triton's `nv_gpu_*` and `nv_energy_consumption`, and under `despina_gpu_*`
//! what it does not have. A family that no GPU tells is left out.

use std::fmt::Display;

use crate::telemetry::{
    exposition::{Exposition, Kind},
    nvml::{Clock, EccError, GpuSample, MigDevice, PcieDirection, ThrottleReason},
};

/// A gauge's name, its help, and where its value is.
type Gauge<T> = (&'static str, &'static str, fn(&GpuSample) -> Option<T>);

const RATES: [Gauge<f64>; 3] = [
    (
        "nv_gpu_utilization",
        "GPU utilization rate [0.0 - 1.0)",
        |gpu| gpu.utilization,
    ),
    ("nv_gpu_power_usage", "GPU power usage in watts", |gpu| {
        gpu.power_watts
    }),
    (
        "nv_gpu_power_limit",
        "GPU power management limit in watts",
        |gpu| gpu.power_limit_watts,
    ),
];

const AMOUNTS: [Gauge<u64>; 4] = [
    (
        "nv_gpu_memory_total_bytes",
        "GPU total memory, in bytes",
        |gpu| gpu.memory_total_bytes,
    ),
    (
        "nv_gpu_memory_used_bytes",
        "GPU used memory, in bytes",
        |gpu| gpu.memory_used_bytes,
    ),
    (
        "despina_gpu_temperature_celsius",
        "Temperature of the GPU's die",
        |gpu| gpu.temperature_celsius.map(u64::from),
    ),
    (
        "despina_gpu_mig_enabled",
        "Whether the GPU is divided into instances",
        |gpu| gpu.mig_enabled.map(u64::from),
    ),
];

/// The same for a part of a divided GPU.
type MigGauge = (&'static str, &'static str, fn(&MigDevice) -> Option<u64>);

pub(super) fn write(exposition: &mut Exposition, gpus: &[GpuSample]) {
    for (name, help, value) in RATES {
        plain(exposition, (name, Kind::Gauge, help), gpus, value);
    }
    for (name, help, value) in AMOUNTS {
        plain(exposition, (name, Kind::Gauge, help), gpus, value);
    }
    let energy = "GPU energy consumption in joules since the server started";
    let family = ("nv_energy_consumption", Kind::Counter, energy);
    plain(exposition, family, gpus, |gpu| gpu.energy_joules);
    write_labelled(exposition, gpus);
    write_mig(exposition, gpus);
}

fn write_labelled(exposition: &mut Exposition, gpus: &[GpuSample]) {
    let help = "How fast the GPU's clocks run, in hertz";
    let family = ("despina_gpu_clock_hertz", Kind::Gauge, help);
    labelled(exposition, family, gpus, "clock", |gpu| {
        named(&gpu.clocks_hertz, Clock::label)
    });
    let help = "Why the GPU's clocks are lower than they could be: 1 for each reason that there is";
    let family = ("despina_gpu_clock_throttled", Kind::Gauge, help);
    labelled(exposition, family, gpus, "reason", |gpu| {
        let reasons = gpu.throttle_reasons.iter();
        let numbers: Vec<_> = reasons.map(|&(reason, is)| (reason, is.into())).collect();
        named(&numbers, ThrottleReason::label)
    });
    let help = "Memory errors of the GPU since its driver was loaded";
    let family = ("despina_gpu_ecc_errors_total", Kind::Counter, help);
    labelled(exposition, family, gpus, "kind", |gpu| {
        named(&gpu.ecc_errors, EccError::label)
    });
    let help = "Traffic on the GPU's bus, as its driver measured it over the last 20 ms";
    let family = ("despina_gpu_pcie_bytes_per_second", Kind::Gauge, help);
    labelled(exposition, family, gpus, "direction", |gpu| {
        named(&gpu.pcie_bytes_per_second, PcieDirection::label)
    });
    let help = "Critical errors (Xid) of the GPU since the server started, by their number";
    let family = ("despina_gpu_xid_errors_total", Kind::Counter, help);
    labelled(exposition, family, gpus, "xid", |gpu| {
        let errors = gpu.xid_errors.iter();
        errors
            .map(|(xid, &count)| (xid.to_string(), count))
            .collect()
    });
}

/// Of each part of a divided GPU: how large it is, and its memory.
fn write_mig(exposition: &mut Exposition, gpus: &[GpuSample]) {
    let parts: Vec<_> = gpus.iter().flat_map(|gpu| &gpu.mig_devices).collect();
    if parts.is_empty() {
        return;
    }
    let families: [MigGauge; 4] = [
        (
            "despina_mig_gpu_slices",
            "Slices of the GPU that the MIG device's GPU instance has",
            |part| part.gpu_slices.map(u64::from),
        ),
        (
            "despina_mig_compute_slices",
            "Slices of these whose processors the MIG device's compute instance has",
            |part| part.compute_slices.map(u64::from),
        ),
        (
            "despina_mig_memory_total_bytes",
            "Total memory of the MIG device, in bytes",
            |part| part.memory_total_bytes,
        ),
        (
            "despina_mig_memory_used_bytes",
            "Used memory of the MIG device, in bytes",
            |part| part.memory_used_bytes,
        ),
    ];
    for (name, help, value) in families {
        exposition.family(name, Kind::Gauge, help);
        for part in &parts {
            if let Some(value) = value(part) {
                let labels = [("gpu_uuid", &*part.gpu_uuid), ("mig_uuid", &*part.uuid)];
                exposition.series(name, &labels, value);
            }
        }
    }
}

/// A family with one series a GPU.
fn plain<T: Display>(
    exposition: &mut Exposition,
    (name, kind, help): (&str, Kind, &str),
    gpus: &[GpuSample],
    value: impl Fn(&GpuSample) -> Option<T>,
) {
    let mut told = gpus
        .iter()
        .filter_map(|gpu| Some((gpu, value(gpu)?)))
        .peekable();
    if told.peek().is_some() {
        exposition.family(name, kind, help);
    }
    for (gpu, value) in told {
        exposition.series(name, &[("gpu_uuid", &gpu.uuid)], value);
    }
}

/// A family with several series a GPU, which the label `by` tells apart.
fn labelled(
    exposition: &mut Exposition,
    (name, kind, help): (&str, Kind, &str),
    gpus: &[GpuSample],
    by: &str,
    values: impl Fn(&GpuSample) -> Vec<(String, u64)>,
) {
    let mut told = gpus
        .iter()
        .flat_map(|gpu| values(gpu).into_iter().map(move |value| (gpu, value)))
        .peekable();
    if told.peek().is_some() {
        exposition.family(name, kind, help);
    }
    for (gpu, (label, value)) in told {
        exposition.series(name, &[("gpu_uuid", &gpu.uuid), (by, &label)], value);
    }
}

fn named<Label: Copy>(
    values: &[(Label, u64)],
    label: fn(Label) -> &'static str,
) -> Vec<(String, u64)> {
    values
        .iter()
        .map(|&(which, value)| (label(which).to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(gpus: &[GpuSample]) -> String {
        let mut exposition = Exposition::default();
        write(&mut exposition, gpus);
        exposition.finish()
    }

    #[test]
    fn each_gpu_has_its_series_under_tritons_names() {
        let gpu = |uuid: &str, used| GpuSample {
            uuid: uuid.to_owned(),
            utilization: Some(0.25),
            memory_used_bytes: Some(used),
            energy_joules: Some(1.5),
            ..GpuSample::default()
        };
        let page = page(&[gpu("GPU-a", 7), gpu("GPU-b", 8)]);
        for line in [
            "# TYPE nv_gpu_utilization gauge",
            "nv_gpu_utilization{gpu_uuid=\"GPU-a\"} 0.25",
            "nv_gpu_memory_used_bytes{gpu_uuid=\"GPU-b\"} 8",
            "# TYPE nv_energy_consumption counter",
            "nv_energy_consumption{gpu_uuid=\"GPU-a\"} 1.5",
        ] {
            assert!(page.lines().any(|other| other == line), "{line}\n{page}");
        }
    }

    #[test]
    fn what_is_told_by_label_is_told_apart() {
        let page = page(&[GpuSample {
            uuid: "GPU-a".to_owned(),
            clocks_hertz: vec![(Clock::Sm, 1_980_000_000)],
            throttle_reasons: vec![
                (ThrottleReason::PowerCap, true),
                (ThrottleReason::Idle, false),
            ],
            xid_errors: [(48, 2)].into(),
            ..GpuSample::default()
        }]);
        for line in [
            "despina_gpu_clock_hertz{gpu_uuid=\"GPU-a\",clock=\"sm\"} 1980000000",
            "despina_gpu_clock_throttled{gpu_uuid=\"GPU-a\",reason=\"power_cap\"} 1",
            "despina_gpu_clock_throttled{gpu_uuid=\"GPU-a\",reason=\"idle\"} 0",
            "despina_gpu_xid_errors_total{gpu_uuid=\"GPU-a\",xid=\"48\"} 2",
        ] {
            assert!(page.lines().any(|other| other == line), "{line}\n{page}");
        }
    }

    #[test]
    fn what_nobody_tells_is_not_there() {
        assert_eq!(page(&[]), "");
        let silent = GpuSample {
            uuid: "GPU-a".to_owned(),
            temperature_celsius: Some(40),
            ..GpuSample::default()
        };
        let page = page(&[silent]);
        assert_eq!(page.matches("# TYPE").count(), 1, "{page}");
    }
}
