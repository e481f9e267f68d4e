use std::net::SocketAddr;

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

/// What generated clients are made with: a connection, with a token or without one.
pub type Connection = InterceptedService<Channel, Bearer>;

/// Puts a token into every request.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A connection to a server, made when it is first used and again when it breaks.
///
/// # Panics
/// If the token cannot stand in a header.
pub fn connect(server: SocketAddr, token: Option<&str>) -> Connection {
    let endpoint = Endpoint::from_shared(format!("http://{server}")).expect("an address is one");
    let token = token.map(|token| {
        format!("Bearer {token}").parse().expect("a token of a test can stand in a header")
    });
    InterceptedService::new(endpoint.connect_lazy(), Bearer(token))
}
