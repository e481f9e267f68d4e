use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{
    Client, Nats, Process, Result, Role,
    client::{Addresses, token},
    free_port,
    process::{program, wait_until},
};

/// A service of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The post service.
    Post,
    /// The comment service.
    Comment,
    /// The moderation service.
    Moderation,
    /// The query service.
    Query,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 4] = [Self::Post, Self::Comment, Self::Moderation, Self::Query];

    /// Its name as `agora serve` takes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Comment => "comment",
            Self::Moderation => "moderation",
            Self::Query => "query",
        }
    }
}

/// Four services, each in a process of its own, over a NATS of their own.
pub struct System {
    /// The NATS server.
    pub nats: Nats,
    services: Vec<Process>,
    ports: [(u16, u16); 4],
    private_pem: String,
    folder: TempDir,
}

impl System {
    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    /// If a program cannot be started or is not ready in time.
    pub async fn start() -> Result<Self> {
        let folder = TempDir::new()?;
        let nats = Nats::start(folder.path()).await?;
        let key = chassis::auth::token::generate_key()?;
        std::fs::write(folder.path().join("key.pub"), &key.public_pem)?;
        let mut ports = [(0, 0); 4];
        for port in &mut ports {
            *port = (free_port()?, free_port()?);
        }
        let mut system = Self {
            nats,
            services: Vec::new(),
            ports,
            private_pem: key.private_pem.clone(),
            folder,
        };
        for service in Service::ALL {
            let process = system.spawn(service)?;
            system.services.push(process);
        }
        for service in Service::ALL {
            system.ready(service).await?;
        }
        Ok(system)
    }

    fn spawn(&self, service: Service) -> Result<Process> {
        let folder = self.folder.path();
        let name = service.as_str();
        let (grpc, http) = self.ports[service as usize];
        let keys = serde_json::json!([folder.join("key.pub")]).to_string();
        let environment = [
            ("AGORA_SERVER__LISTEN", format!("127.0.0.1:{grpc}")),
            ("AGORA_SERVER__HTTP_LISTEN", format!("127.0.0.1:{http}")),
            ("AGORA_NATS__URL", self.nats.url()),
            ("AGORA_DATABASE__PATH", self.database(service).display().to_string()),
            ("AGORA_AUTH__PUBLIC_KEYS", keys),
        ];
        let mut environment = environment.to_vec();
        if service == Service::Comment {
            environment.push(("AGORA_POST_SERVICE__URL", self.addresses().post));
        }
        let log = folder.join(format!("{name}.log"));
        Process::start(&program("agora")?, &["serve", name], &environment, &log)
    }

    /// The database file of a service.
    pub fn database(&self, service: Service) -> PathBuf {
        self.folder.path().join(format!("{}.db", service.as_str()))
    }

    /// The folder of everything that the system keeps.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A service's process.
    pub fn process(&mut self, service: Service) -> &mut Process {
        &mut self.services[service as usize]
    }

    /// Waits until a service says that it is ready.
    ///
    /// # Errors
    /// If it does not in time.
    pub async fn ready(&self, service: Service) -> Result {
        let url = format!("127.0.0.1:{}", self.ports[service as usize].1);
        let waiting = wait_until("a service", || is_ready(&url)).await;
        waiting.map_err(|error| {
            let output = self.services[service as usize].output();
            format!("{error}: {} printed:\n{output}", service.as_str()).into()
        })
    }

    /// Where the services are.
    pub fn addresses(&self) -> Addresses {
        let address =
            |service: Service| format!("http://127.0.0.1:{}", self.ports[service as usize].0);
        Addresses {
            post: address(Service::Post),
            comment: address(Service::Comment),
            moderation: address(Service::Moderation),
            query: address(Service::Query),
        }
    }

    /// A token for a user.
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
        Client::new(&self.addresses(), Some(&self.token(user, role)?))
    }

    /// A caller with this token.
    ///
    /// # Errors
    /// If the token cannot stand in a header.
    pub fn client_with(&self, token: &str) -> Result<Client> {
        Client::new(&self.addresses(), Some(token))
    }

    /// A caller without a token.
    ///
    /// # Errors
    /// If an address is invalid.
    pub fn anonymous(&self) -> Result<Client> {
        Client::new(&self.addresses(), None)
    }
}

/// Whether `/readyz` answers 200.
async fn is_ready(address: &str) -> bool {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else { return false };
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).await.is_ok()
        && stream.read_to_string(&mut answer).await.is_ok()
        && answer.starts_with("HTTP/1.1 200")
}
