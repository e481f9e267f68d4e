//! Who calls a system.

use super::{Service, System};
use crate::{Client, Result, Role, client::Addresses};

impl System {
    /// Where the services are.
    pub fn addresses(&self) -> Addresses {
        self.access.addresses.clone()
    }

    /// A token for a user.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn token(&self, user: &str, role: Role) -> Result<String> {
        self.access.token(user, role)
    }

    /// A caller with a role on every site.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn client(&self, user: &str, role: Role) -> Result<Client> {
        self.access.client(user, role)
    }

    /// A caller with this token.
    ///
    /// # Errors
    /// If the token cannot stand in a header.
    pub fn client_with(&self, token: &str) -> Result<Client> {
        Client::new(&self.access.addresses, Some(token))
    }

    /// A caller without a token.
    ///
    /// # Errors
    /// If an address is invalid.
    pub fn anonymous(&self) -> Result<Client> {
        self.access.anonymous()
    }

    /// Callers of one replica each of a service, and of all replicas of the others.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn each(&self, service: Service, user: &str, role: Role) -> Result<Vec<Client>> {
        self.access.each(service, user, role)
    }
}
