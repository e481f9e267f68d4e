use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Uri, header, uri::Authority};
use tonic::Code;

use crate::{Explain, error::Fault};

/// The names by which a server may be called.
///
/// A server on loopback believes every process of its machine, and a browser is one
/// that anybody's page can use: a page whose name is made to resolve to 127.0.0.1 (DNS
/// rebinding) calls as if it came from here. It still says its own name.
pub(super) struct Hosts {
    /// Nothing is checked off loopback: there a server is called by many names.
    is_checked: bool,
    also: Vec<String>,
}

/// A name that is not one of them.
#[derive(Debug, thiserror::Error)]
#[error(
    "this server is not to be called {0:?}: call it localhost, or name it in server.allowed_hosts"
)]
pub(super) struct NotAllowed(String);

impl Explain for NotAllowed {
    fn fault(&self) -> Fault {
        Fault::new(Code::PermissionDenied, "HOST_NOT_ALLOWED").with("host", &self.0)
    }
}

impl Hosts {
    pub(super) fn new(listen: SocketAddr, also: &[String]) -> Self {
        Self { is_checked: listen.ip().is_loopback(), also: also.to_vec() }
    }

    /// Checks the name that a request calls this server by, whatever the port.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), NotAllowed> {
        if !self.is_checked {
            return Ok(());
        }
        // HTTP/2 has the name in :authority, HTTP/1 in Host.
        let in_header = || headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let given = uri.authority().map(Authority::as_str).or_else(in_header).unwrap_or_default();
        match given.parse::<Authority>() {
            Ok(authority) if self.allows(authority.host()) => Ok(()),
            _ => Err(NotAllowed(given.to_owned())),
        }
    }

    fn allows(&self, host: &str) -> bool {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| address.is_loopback())
            || self.also.iter().any(|also| host.eq_ignore_ascii_case(also))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(listen: &str, host: &str) -> bool {
        let hosts = Hosts::new(listen.parse().unwrap(), &["agora.test".into()]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        let in_header = hosts.check(&Uri::from_static("/x"), &headers).is_ok();
        if let Ok(uri) = format!("http://{host}/x").parse::<Uri>() {
            assert_eq!(hosts.check(&uri, &HeaderMap::new()).is_ok(), in_header, "{host}");
        }
        in_header
    }

    #[test]
    fn on_loopback_the_name_must_be_a_local_one() {
        for listen in ["127.0.0.1:7400", "[::1]:7400"] {
            for host in
                ["localhost", "LOCALHOST:1", "127.0.0.1:7400", "[::1]", "[::1]:9", "agora.test:80"]
            {
                assert!(allows(listen, host), "{host}");
            }
            for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", ""] {
                assert!(!allows(listen, host), "{host}");
            }
        }
        assert!(allows("0.0.0.0:7400", "evil.example"));
    }
}
