//! The metrics page: Triton's `nv_*` families, and a few histograms of Despina's own, written from
//! the counters that the rooms below keep. Keeps no counters itself.

mod device;
mod gpu;
mod host;

use std::{future::Future, sync::Arc};

use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    service::service_fn,
};

use self::host::{CpuMeter, Memory};
use super::{
    Api,
    admit::{Admitted, Caller, Entrance},
    body::Chunks,
    http::{answer, ending, protocol},
    listener::{self, InFlight, Port},
};
use crate::{
    admission::{Identity, Verb, auth::KeyFetches},
    error::Result,
    inference::{DurationSnapshot, FailureReason, Histograms, Snapshot},
    model::Model,
    telemetry::{
        Histogram,
        exposition::{CONTENT_TYPE as TEXT_FORMAT, Exposition, Kind},
        nvml::GpuSamples,
    },
};

/// Serves the page at `port` until `shutdown`.
pub async fn serve(
    port: Port,
    api: Arc<Api>,
    gpus: GpuSamples,
    shutdown: impl Future<Output = ()>,
) {
    let (protocol, ending) = (protocol(&api.limits), ending(&api.limits));
    let machine = Arc::new(Machine {
        cpu: CpuMeter::default(),
        gpus,
    });
    let connect = move |stream, in_flight: InFlight, identity: Identity| {
        let caller = Caller::new(Arc::clone(&api), identity, Entrance::Metrics);
        let machine = Arc::clone(&machine);
        let service = service_fn(move |request| {
            let (caller, machine) = (caller.clone(), Arc::clone(&machine));
            in_flight
                .clone()
                .count(async move { respond(caller, &machine, &request) })
        });
        protocol.serve_connection(stream, service)
    };
    listener::serve(port, ending, shutdown, connect).await;
}

/// Where the machine's own numbers come from.
#[derive(Debug, Default)]
struct Machine {
    cpu: CpuMeter,
    gpus: GpuSamples,
}

fn respond(mut caller: Caller, machine: &Machine, request: &Request<Incoming>) -> Response<Chunks> {
    let (status, page) = match (request.uri().path(), request.method()) {
        ("/metrics" | "/metrics/", &Method::GET) => {
            match admitted_page(&mut caller, request.headers(), machine) {
                Ok(page) => (StatusCode::OK, page),
                Err(error) => return answer::error(&error),
            }
        }
        ("/metrics" | "/metrics/", _) => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    let mut response = Response::new(Chunks::default());
    *response.status_mut() = status;
    if status == StatusCode::OK {
        let text_format = HeaderValue::from_static(TEXT_FORMAT);
        response.headers_mut().insert(CONTENT_TYPE, text_format);
        *response.body_mut() = Chunks::new([page.into()]);
    }
    response
}

fn admitted_page(caller: &mut Caller, headers: &HeaderMap, machine: &Machine) -> Result<String> {
    caller.identify(headers)?;
    let api = caller.admit(Verb::Metrics, "")?;
    Ok(page(&api, machine))
}

/// One model's numbers, read once for the whole page.
struct Reading {
    model: Arc<Model>,
    version: String,
    snapshot: Snapshot,
}

fn page(api: &Admitted<'_>, machine: &Machine) -> String {
    let readings: Vec<_> = api
        .ready_models()
        .into_iter()
        .map(|model| Reading {
            version: model.version().to_string(),
            snapshot: model.statistics().snapshot(),
            model,
        })
        .collect();
    let mut exposition = Exposition::default();
    write_counters(&mut exposition, &readings);
    write_failures(&mut exposition, &readings);
    write_durations(&mut exposition, &readings);
    write_gauges(&mut exposition, &readings);
    write_histograms(&mut exposition, &readings);
    write_host(&mut exposition, machine.cpu.utilization(), host::memory());
    gpu::write(&mut exposition, &machine.gpus.latest());
    device::write(&mut exposition, &api.opened_devices());
    device::write_models(&mut exposition, &readings);
    if let Some(fetches) = api.gate.key_fetches() {
        write_key_fetches(&mut exposition, fetches);
    }
    exposition.finish()
}

fn write_key_fetches(exposition: &mut Exposition, fetches: KeyFetches) {
    let name = "despina_jwks_fetches_total";
    let help = "Number of times that the keys of tokens were fetched from their URL";
    exposition.family(name, Kind::Counter, help);
    exposition.series(name, &[("outcome", "success")], fetches.succeeded);
    exposition.series(name, &[("outcome", "failure")], fetches.failed);
}

impl Reading {
    fn labels(&self) -> [(&str, &str); 2] {
        [("model", self.model.name()), ("version", &self.version)]
    }
}

/// A family's name, its help, and where its value is.
type Family<T> = (&'static str, &'static str, fn(&Snapshot) -> T);

const COUNTERS: [Family<u64>; 3] = [
    (
        "nv_inference_request_success",
        "Number of successful inference requests, all batch sizes",
        |snapshot| snapshot.success.count,
    ),
    (
        "nv_inference_count",
        "Number of inferences performed (does not include cached requests)",
        |snapshot| snapshot.inference_count,
    ),
    (
        "nv_inference_exec_count",
        "Number of model executions performed (does not include cached requests)",
        |snapshot| snapshot.execution_count,
    ),
];

const DURATIONS: [Family<DurationSnapshot>; 5] = [
    (
        "nv_inference_request_duration_us",
        "Cumulative inference request duration in microseconds (includes cached requests)",
        |snapshot| snapshot.success,
    ),
    (
        "nv_inference_queue_duration_us",
        "Cumulative inference queuing duration in microseconds (includes cached requests)",
        |snapshot| snapshot.queue,
    ),
    (
        "nv_inference_compute_input_duration_us",
        "Cumulative compute input duration in microseconds (does not include cached requests)",
        |snapshot| snapshot.compute_input,
    ),
    (
        "nv_inference_compute_infer_duration_us",
        "Cumulative compute inference duration in microseconds (does not include cached requests)",
        |snapshot| snapshot.compute_infer,
    ),
    (
        "nv_inference_compute_output_duration_us",
        "Cumulative inference compute output duration in microseconds (does not include cached \
         requests)",
        |snapshot| snapshot.compute_output,
    ),
];

fn write_counters(exposition: &mut Exposition, readings: &[Reading]) {
    for (name, help, value) in COUNTERS {
        exposition.family(name, Kind::Counter, help);
        for reading in readings {
            exposition.series(name, &reading.labels(), value(&reading.snapshot));
        }
    }
}

fn write_failures(exposition: &mut Exposition, readings: &[Reading]) {
    let name = "nv_inference_request_failure";
    let help = "Number of failed inference requests, all batch sizes";
    exposition.family(name, Kind::Counter, help);
    for reading in readings {
        let [model, version] = reading.labels();
        for (reason, count) in FailureReason::ALL.iter().zip(reading.snapshot.failures) {
            let labels = [model, version, ("reason", reason.label())];
            exposition.series(name, &labels, count);
        }
    }
}

fn write_durations(exposition: &mut Exposition, readings: &[Reading]) {
    for (name, help, value) in DURATIONS {
        exposition.family(name, Kind::Counter, help);
        for reading in readings {
            let microseconds = value(&reading.snapshot).nanoseconds / 1000;
            exposition.series(name, &reading.labels(), microseconds);
        }
    }
}

fn write_gauges(exposition: &mut Exposition, readings: &[Reading]) {
    let name = "nv_inference_pending_request_count";
    let help = "Instantaneous number of pending requests awaiting execution per-model.";
    exposition.family(name, Kind::Gauge, help);
    for reading in readings {
        exposition.series(name, &reading.labels(), reading.snapshot.pending);
    }
    let name = "nv_model_load_duration_secs";
    exposition.family(name, Kind::Gauge, "Model load time in seconds");
    for reading in readings {
        let seconds = reading.model.load_duration().as_secs_f64();
        exposition.series(name, &reading.labels(), seconds);
    }
}

/// A histogram family's name, its help, and where it is.
type HistogramFamily = (&'static str, &'static str, fn(&Histograms) -> &Histogram);

/// Not Triton's: Despina's own.
const HISTOGRAMS: [HistogramFamily; 4] = [
    (
        "nv_inference_request_duration_seconds",
        "Durations of successful requests in seconds, from the front door to the answer",
        |histograms| &histograms.request,
    ),
    (
        "nv_inference_queue_duration_seconds",
        "Times that successful requests spent in the queue, in seconds",
        |histograms| &histograms.queue,
    ),
    (
        "nv_inference_compute_duration_seconds",
        "Durations of model executions in seconds, inputs and outputs included",
        |histograms| &histograms.compute,
    ),
    (
        "nv_inference_batch_size",
        "Batch sizes of model executions",
        |histograms| &histograms.batch_size,
    ),
];

fn write_histograms(exposition: &mut Exposition, readings: &[Reading]) {
    for (name, help, histogram) in HISTOGRAMS {
        exposition.family(name, Kind::Histogram, help);
        for reading in readings {
            let histograms = reading.model.statistics().histograms();
            exposition.histogram(name, &reading.labels(), histogram(histograms));
        }
    }
    // Triton's, which has it for decoupled models only.
    let name = "nv_inference_first_response_histogram_ms";
    let help = "Duration from request to first response in milliseconds";
    exposition.family(name, Kind::Histogram, help);
    for reading in readings {
        if reading.model.config().decoupled {
            let histograms = reading.model.statistics().histograms();
            exposition.histogram(name, &reading.labels(), &histograms.first_response);
        }
    }
}

/// Leaves out what this system does not tell.
fn write_host(exposition: &mut Exposition, cpu: Option<f64>, memory: Option<Memory>) {
    let mut gauge = |name: &str, help: &str, value: &dyn std::fmt::Display| {
        exposition.family(name, Kind::Gauge, help);
        exposition.series(name, &[], value);
    };
    if let Some(cpu) = cpu {
        gauge(
            "nv_cpu_utilization",
            "CPU utilization rate [0.0 - 1.0]",
            &cpu,
        );
    }
    if let Some(memory) = memory {
        let total = "CPU total memory (RAM), in bytes";
        gauge("nv_cpu_memory_total_bytes", total, &memory.total);
        let used = "CPU used memory (RAM), in bytes";
        gauge("nv_cpu_memory_used_bytes", used, &memory.used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::caller;

    #[test]
    fn every_family_is_announced_even_without_models() {
        let page = admitted_page(&mut caller(), &HeaderMap::new(), &Machine::default()).unwrap();
        for family in [
            "nv_inference_request_success counter",
            "nv_inference_request_failure counter",
            "nv_inference_count counter",
            "nv_inference_exec_count counter",
            "nv_inference_request_duration_us counter",
            "nv_inference_queue_duration_us counter",
            "nv_inference_compute_input_duration_us counter",
            "nv_inference_compute_infer_duration_us counter",
            "nv_inference_compute_output_duration_us counter",
            "nv_inference_pending_request_count gauge",
            "nv_model_load_duration_secs gauge",
            "nv_inference_batch_size histogram",
            "nv_inference_first_response_histogram_ms histogram",
        ] {
            assert!(page.contains(&format!("# TYPE {family}\n")), "{family}");
        }
    }

    #[test]
    fn the_host_is_shown_as_far_as_it_is_known() {
        let mut exposition = Exposition::default();
        let memory = Memory { total: 8, used: 3 };
        write_host(&mut exposition, None, Some(memory));
        let text = exposition.finish();
        assert!(text.contains("\nnv_cpu_memory_used_bytes 3\n"));
        assert!(!text.contains("nv_cpu_utilization"));
    }
}
