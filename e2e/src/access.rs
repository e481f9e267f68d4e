use bus_schema::Source;

use crate::{
    Client, Result, Role, Service,
    client::{Addresses, token},
};

/// How callers get at a system: where it is, and what it takes for proof of who calls.
#[derive(Clone, Debug)]
pub struct Access {
    /// Where the services are.
    pub addresses: Addresses,
    /// Where NATS is: the addresses of all servers.
    pub nats_url: String,
    /// The user and the password that NATS asks for, if it does.
    pub nats_login: Option<(String, String)>,
    /// The private key that signs tokens.
    pub private_pem: String,
}

impl Access {
    /// A token for a user who has a role on every site.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn token(&self, user: &str, role: Role) -> Result<String> {
        token(&self.private_pem, user, role)
    }

    /// A caller with a role on every site.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn client(&self, user: &str, role: Role) -> Result<Client> {
        Client::new(&self.addresses, Some(&self.token(user, role)?))
    }

    /// A caller without a token.
    ///
    /// # Errors
    /// If an address is invalid.
    pub fn anonymous(&self) -> Result<Client> {
        Client::new(&self.addresses, None)
    }

    /// Callers of one replica each of a service, and of all replicas of the others.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn each(&self, service: Service, user: &str, role: Role) -> Result<Vec<Client>> {
        let token = self.token(user, role)?;
        let each = self.addresses.of(service).iter().map(|replica| {
            let mut addresses = self.addresses.clone();
            *addresses.of_mut(service) = vec![replica.clone()];
            Client::new(&addresses, Some(&token))
        });
        each.collect()
    }

    /// The streams, as NATS has them.
    ///
    /// # Errors
    /// If NATS cannot be reached.
    pub async fn jetstream(&self) -> Result<async_nats::jetstream::Context> {
        let servers = chassis::config::nats_servers(&self.nats_url);
        let mut options = async_nats::ConnectOptions::new();
        if let Some((user, password)) = &self.nats_login {
            options = options.user_and_password(user.clone(), password.clone());
        }
        Ok(async_nats::jetstream::new(options.connect(servers).await?))
    }

    /// The stream of a source, as NATS has it now.
    ///
    /// # Errors
    /// If there is none.
    pub async fn stream(&self, source: Source) -> Result<async_nats::jetstream::stream::Stream> {
        let name = bus_schema::Stream::of(source, 1, -1).name;
        Ok(self.jetstream().await?.get_stream(name).await?)
    }
}
