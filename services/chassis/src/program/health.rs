//! Asking a process by its own port whether it is ready: the check of an image without a
//! shell.

use std::{error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use tokio::time::timeout;
use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{error::chain, host::reachable};

/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Asks whoever listens on an address whether it is ready, prints what it says in one line,
/// and succeeds if it is.
pub async fn ask(listen: SocketAddr) -> ExitCode {
    let address = reachable(listen);
    let (is_ready, said) = match timeout(ANSWER, status(address)).await {
        Ok(Ok(status)) => (status == ServingStatus::Serving, status.as_str_name().to_owned()),
        Ok(Err(error)) => (false, format!("no answer: {}", chain(&*error))),
        Err(_) => (false, format!("no answer within {} s", ANSWER.as_secs())),
    };
    println!("{address}: {said}");
    if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn status(address: SocketAddr) -> Result<ServingStatus, Box<dyn Error>> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let mut client = HealthClient::new(channel);
    match client.check(HealthCheckRequest::default()).await {
        Ok(answer) => Ok(answer.into_inner().status()),
        // Another program listens there.
        Err(status) if status.code() == Code::Unimplemented => Ok(ServingStatus::ServiceUnknown),
        Err(status) => Err(status.message().into()),
    }
}
