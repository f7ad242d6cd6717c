//! `grpc.health.v1.Health`. Which service is asked about makes no difference, as in Triton.

use tokio::sync::mpsc;
use tonic::{
    Status,
    codegen::tokio_stream::{Stream, wrappers::ReceiverStream},
};

use crate::{
    admission::Verb,
    api::{
        Stage,
        admit::{Admitted, Caller},
    },
    error::Result,
    proto::health::{HealthCheckResponse, health_check_response::ServingStatus},
};

/// `SERVING` while the server is ready.
pub(super) fn check(caller: &Caller) -> Result<HealthCheckResponse> {
    let api = caller.admit(Verb::Health, "")?;
    Ok(response(status(&api)))
}

/// What [`check`] says, now and whenever it changes; ends when the server begins to.
pub(super) fn watch(
    caller: Caller,
) -> Result<impl Stream<Item = std::result::Result<HealthCheckResponse, Status>> + Send + 'static> {
    caller.check(Verb::Health)?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move { follow(&caller, &sender).await });
    Ok(ReceiverStream::new(receiver))
}

type Sender = mpsc::Sender<std::result::Result<HealthCheckResponse, Status>>;

async fn follow(caller: &Caller, sender: &Sender) {
    let Ok(api) = caller.admit(Verb::Health, "") else {
        return;
    };
    let mut changes = api.changes();
    let mut told = None;
    loop {
        let status = status(&api);
        if told.replace(status) != Some(status) && sender.send(Ok(response(status))).await.is_err()
        {
            return;
        }
        if api.readiness.stage() == Stage::Exiting {
            return;
        }
        tokio::select! {
            () = changes.next() => {}
            () = sender.closed() => return,
        }
    }
}

fn status(api: &Admitted<'_>) -> ServingStatus {
    match api.ready() {
        Ok(true) => ServingStatus::Serving,
        Ok(false) | Err(_) => ServingStatus::NotServing,
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}
