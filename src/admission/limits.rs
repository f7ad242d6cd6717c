//! The one limits struct. Front doors check against it before they take memory for anything.

use serde::{Deserialize, Serialize};

/// Bounds on what a client may send. Every field can be set in `server.yaml` under `limits`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of one request, whole. The default is the most that gRPC can carry.
    pub request_byte_size: usize,
    /// Bytes that all requests in flight, over all connections, may hold together with their answers.
    pub in_flight_byte_size: usize,
    /// Bytes of one answer.
    pub response_byte_size: usize,
    /// Pieces of less than 512 bytes in which one request body may arrive.
    pub small_chunks_per_body: usize,
    /// Bytes that a compressed request may have once it is decompressed.
    pub decompressed_byte_size: usize,
    /// How many times as large as before a request may become by decompression, beyond 1 MiB.
    pub decompression_ratio: usize,
    /// Bodies that are compressed or decompressed at the same time; further ones wait.
    pub compressions: usize,
    /// Bytes of the JSON part of an HTTP request (Triton's `--http-max-input-size`).
    pub json_byte_size: usize,
    /// Nesting of JSON arrays and objects.
    pub json_depth: usize,
    /// Bytes of all HTTP header fields, or of gRPC metadata.
    pub header_byte_size: usize,
    /// Bytes of an API key or token.
    pub credential_byte_size: usize,
    /// Principals whose quotas are counted at a time.
    pub principals: usize,
    /// Inputs, and likewise outputs, that one request may name.
    pub tensors_per_request: usize,
    /// Dimensions of one tensor.
    pub dims_per_tensor: usize,
    /// Parameters of one request, and likewise of one tensor.
    pub parameters: usize,
    /// Classes that one output may be answered with (the classification extension), over all rows.
    pub classes_per_output: usize,
    /// Bytes of one name, id or string parameter.
    pub text_byte_size: usize,
    /// Connections that are open at the same time, of each front door.
    pub connections: usize,
    /// Streams (requests in flight) on one HTTP/2 connection.
    pub streams_per_connection: u32,
    /// Requests on one connection, after which it is closed in order.
    pub requests_per_connection: usize,
    /// Requests that one `ModelStreamInfer` stream may carry from its beginning to its end.
    pub messages_per_stream: usize,
    /// Requests in flight on one `ModelStreamInfer` stream; with more, it is not read.
    pub requests_per_stream: usize,
    /// Bytes of the requests in flight on one `ModelStreamInfer` stream; with more, it is not read.
    pub stream_byte_size: usize,
    /// Responses of one request that its client has not taken yet; with more, a decoupled model
    /// waits (Triton's `--grpc-max-response-pool-size`).
    pub unread_responses: usize,
    /// Seconds in which an HTTP/1.1 client must have sent its header fields; idle connections are
    /// closed after the same time, and up to a quarter more.
    pub header_timeout_seconds: u64,
    /// Seconds without a byte of a request's body after which its client is taken for gone.
    pub body_timeout_seconds: u64,
    /// Regions of shared memory that are registered at the same time.
    pub shared_memory_regions: usize,
    /// TLS handshakes under way at one door; further connections wait.
    pub handshakes: usize,
    /// Seconds that a TLS handshake may take.
    pub handshake_timeout_seconds: u64,
    /// Bytes of one configuration file or configuration override.
    pub config_byte_size: usize,
    /// Bytes of all model files that come with one load call.
    pub load_file_byte_size: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_byte_size: 0x7fff_ffff,
            in_flight_byte_size: 4 << 30,
            response_byte_size: 0x7fff_ffff,
            small_chunks_per_body: 65536,
            decompressed_byte_size: 64 << 20,
            decompression_ratio: 256,
            compressions: 4,
            json_byte_size: 64 << 20,
            json_depth: 100,
            header_byte_size: 64 << 10,
            credential_byte_size: 8 << 10,
            principals: 10_000,
            tensors_per_request: 1024,
            dims_per_tensor: 32,
            parameters: 256,
            classes_per_output: 1_000_000,
            text_byte_size: 64 << 10,
            connections: 16384,
            streams_per_connection: 1024,
            requests_per_connection: 1_000_000_000,
            messages_per_stream: 1_000_000_000,
            requests_per_stream: 1024,
            stream_byte_size: 1 << 30,
            unread_responses: 256,
            header_timeout_seconds: 60,
            body_timeout_seconds: 60,
            handshakes: 1024,
            handshake_timeout_seconds: 10,
            shared_memory_regions: 1024,
            config_byte_size: 4 << 20,
            load_file_byte_size: 512 << 20,
        }
    }
}

impl Limits {
    /// Checks what concerns more than one limit.
    ///
    /// # Errors
    /// One sentence that names the settings.
    pub fn check(&self) -> Result<(), String> {
        if self.in_flight_byte_size < self.request_byte_size {
            return Err(format!(
                "limits.in_flight_byte_size ({}) is less than limits.request_byte_size ({}): a \
                 request of that size would never fit",
                self.in_flight_byte_size, self.request_byte_size
            ));
        }
        Ok(())
    }
}
