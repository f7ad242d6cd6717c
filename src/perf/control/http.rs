//! The questions over HTTP.

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::utf8_percent_encode;
use serde_json::{Value, json};

use super::{Batching, Control, Described, ModelStatistics, NAME, ask};
use crate::perf::wire::{HttpWire, Message, Out};

impl Control {
    fn http(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let headers: String = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{headers}\r\n{body}",
            self.authority,
            body.len()
        );
        let message = Message {
            bytes: request.into(),
            decoupled: false,
            marks: None,
        };
        let mut socket = self.connect()?;
        let kept = ask(
            &mut socket,
            &mut HttpWire::default(),
            Out::default(),
            &message,
        )?;
        if kept.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&kept.body).with_context(|| format!("{path}: not JSON"))
    }

    pub(super) fn http_server(&self) -> Result<(String, String)> {
        let document = self.http("GET", "/v2", "")?;
        Ok((text(&document["name"]), text(&document["version"])))
    }

    pub(super) fn http_metadata(
        &self,
        name: &str,
        version: Option<u64>,
    ) -> Result<(Vec<Described>, Vec<Described>)> {
        let document = self.http("GET", &path(name, version, ""), "")?;
        Ok((tensors(&document["inputs"]), tensors(&document["outputs"])))
    }

    pub(super) fn http_batching(&self, name: &str, version: Option<u64>) -> Result<Batching> {
        let document = self.http("GET", &path(name, version, "/config"), "")?;
        let most = document.get("max_batch_size").and_then(Value::as_i64);
        let policy = &document["model_transaction_policy"];
        Ok(Batching {
            batched: most.context("no max_batch_size")? > 0,
            decoupled: policy["decoupled"].as_bool().unwrap_or(false),
            sequential: document.get("sequence_batching").is_some(),
        })
    }

    pub(super) fn http_statistics(
        &self,
        name: &str,
        version: Option<u64>,
    ) -> Result<ModelStatistics> {
        let document = self.http("GET", &path(name, version, "/stats"), "")?;
        let versions = document["model_stats"]
            .as_array()
            .context("no model_stats")?;
        let mut sum = ModelStatistics::default();
        for version in versions {
            let pair = |what: &str| {
                let duration = &version["inference_stats"][what];
                (number(&duration["count"]), number(&duration["ns"]))
            };
            sum.add(&ModelStatistics {
                inference_count: number(&version["inference_count"]),
                execution_count: number(&version["execution_count"]),
                success: pair("success"),
                fail: pair("fail"),
                queue: pair("queue"),
                compute_input: pair("compute_input"),
                compute_infer: pair("compute_infer"),
                compute_output: pair("compute_output"),
            });
        }
        Ok(sum)
    }

    pub(super) fn http_register_system(&self, name: &str, key: &str, byte_size: u64) -> Result<()> {
        let body = json!({ "key": key, "offset": 0, "byte_size": byte_size }).to_string();
        let path = format!("/v2/systemsharedmemory/region/{name}/register");
        self.http("POST", &path, &body).map(drop)
    }

    pub(super) fn http_register_cuda(
        &self,
        name: &str,
        handle: &[u8; 64],
        ordinal: u32,
        byte_size: u64,
    ) -> Result<()> {
        let handle = BASE64_STANDARD.encode(handle);
        let body = json!({
            "raw_handle": { "b64": handle }, "device_id": ordinal, "byte_size": byte_size,
        });
        let path = format!("/v2/cudasharedmemory/region/{name}/register");
        self.http("POST", &path, &body.to_string()).map(drop)
    }

    /// Of shared memory of that kind.
    pub(super) fn http_unregister(&self, kind: &str, name: &str) -> Result<()> {
        let path = format!("/v2/{kind}sharedmemory/region/{name}/unregister");
        self.http("POST", &path, "").map(drop)
    }
}

fn path(name: &str, version: Option<u64>, rest: &str) -> String {
    let name = utf8_percent_encode(name, NAME);
    let version = version.map_or_else(String::new, |version| format!("/versions/{version}"));
    format!("/v2/models/{name}{version}{rest}")
}

fn tensors(list: &Value) -> Vec<Described> {
    let tensors = list.as_array().into_iter().flatten();
    tensors
        .map(|tensor| Described {
            name: text(&tensor["name"]),
            datatype: text(&tensor["datatype"]),
            shape: serde_json::from_value(tensor["shape"].clone()).unwrap_or_default(),
        })
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
