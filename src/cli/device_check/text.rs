//! What was found, for people.

use crate::{
    device::measure::{MeasureError, Measured},
    server::{Findings, FoundBackend, FoundGpu},
};

/// What there is.
pub(super) fn found(found: &Findings) -> String {
    let mut lines = vec![
        format!("despina      {}", found.version),
        format!("processors   {}", found.cpu_count),
    ];
    lines.extend(found.kernel.iter().map(|it| format!("kernel       {it}")));
    lines.extend(found.driver.iter().map(|it| format!("driver       {it}")));
    lines.extend(found.gpus.iter().map(gpu));
    let no_gpu = found.no_gpu_reason.iter();
    lines.extend(no_gpu.map(|reason| format!("no GPU       {reason}")));
    lines.push(match &found.onnxruntime {
        Ok(library) => format!("onnxruntime  {library}"),
        Err(reason) => format!("onnxruntime  {reason}"),
    });
    lines.extend(found.backends.iter().map(backend));
    lines.join("\n") + "\n"
}

fn gpu(gpu: &FoundGpu) -> String {
    let FoundGpu {
        ordinal,
        name,
        uuid,
        compute_capability,
        ..
    } = gpu;
    let memory = gpu.memory_byte_size >> 20;
    let node = gpu
        .numa_node
        .map_or_else(String::new, |node| format!(", memory node {node}"));
    let refused = if gpu.is_usable {
        ""
    } else {
        "; not used: its compute capability is below min_compute_capability"
    };
    format!(
        "GPU {ordinal:<8} {name}, {uuid}, compute capability {compute_capability}, {memory} MiB\
         {node}{refused}"
    )
}

fn backend(backend: &FoundBackend) -> String {
    let state = match (&backend.not_ready, &backend.not_on_gpus) {
        (Some(reason), _) => format!("cannot be used: {reason}"),
        (None, Some(reason)) => format!("on the CPU; not on GPUs: {reason}"),
        (None, None) => "on the CPU and on GPUs".to_owned(),
    };
    format!("backend      {}: {state}", backend.name)
}

/// What was measured.
pub(super) fn measured(tried: &[Result<Measured, MeasureError>]) -> String {
    let devices = tried.iter().map(|tried| match tried {
        Ok(measured) => device(measured),
        Err(error) => format!("\n{error}\n"),
    });
    devices.collect()
}

fn device(measured: &Measured) -> String {
    let mut lines = vec![
        String::new(),
        format!("GPU {}: one copy, µs", measured.ordinal),
        row([
            "bytes",
            "pinned in",
            "pageable in",
            "pinned out",
            "pageable out",
        ]),
    ];
    lines.extend(measured.copies.iter().map(|copy| {
        let times = [
            copy.pinned_to_device_us,
            copy.pageable_to_device_us,
            copy.pinned_to_host_us,
            copy.pageable_to_host_us,
        ];
        let [a, b, c, d] = times.map(time);
        row([copy.byte_size.to_string(), a, b, c, d])
    }));
    lines.push(format!("GPU {}: the rows of a batch, µs", measured.ordinal));
    lines.push(row(["rows", "of bytes", "copies", "kernel"]));
    lines.extend(measured.gathers.iter().map(|gather| {
        let [rows, size] = [gather.rows, gather.row_byte_size].map(|number| number.to_string());
        row([rows, size, time(gather.copies_us), time(gather.kernel_us)])
    }));
    lines.push(format!("GPU {}: launches, µs", measured.ordinal));
    lines.push(row(["launches", "plain", "graph"]));
    lines.extend(measured.graphs.iter().map(|launches| {
        let times = [launches.plain_us, launches.graph_us].map(time);
        let [plain, graph] = times;
        row([launches.count.to_string(), plain, graph])
    }));
    lines.join("\n") + "\n"
}

fn time(microseconds: f64) -> String {
    format!("{microseconds:.1}")
}

fn row<const COLUMNS: usize>(cells: [impl AsRef<str>; COLUMNS]) -> String {
    let cells = cells.map(|cell| format!("{:>13}", cell.as_ref()));
    cells.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_said_with_its_reason() {
        let findings = Findings {
            version: "0.1.0",
            kernel: None,
            cpu_count: 2,
            driver: None,
            gpus: vec![FoundGpu {
                ordinal: 0,
                name: "Old GPU".to_owned(),
                uuid: "GPU-0".to_owned(),
                compute_capability: "6.1".to_owned(),
                memory_byte_size: 8 << 30,
                numa_node: Some(1),
                is_usable: false,
            }],
            no_gpu_reason: Some("no driver".to_owned()),
            backends: vec![FoundBackend {
                name: "onnxruntime",
                not_ready: None,
                not_on_gpus: Some("no provider".to_owned()),
            }],
            onnxruntime: Err("was not found".to_owned()),
        };
        let text = found(&findings);
        for part in [
            "GPU 0        Old GPU, GPU-0, compute capability 6.1, 8192 MiB, memory node 1; not used",
            "no GPU       no driver",
            "onnxruntime  was not found",
            "backend      onnxruntime: on the CPU; not on GPUs: no provider",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
