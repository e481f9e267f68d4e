mod another;
mod callers;
mod owners;
mod service;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use chassis::planted::Bug;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{
    Access, Clock, Nats, Postgres, Process, Proxy, Result, Role, SmallDisk,
    client::Addresses,
    free_port,
    process::{program, wait_until},
};

pub use another::Another;
pub use service::{Databases, Disk, Service};

/// Four services, each replica in a process of its own, over a NATS of their own.
pub struct System {
    /// The NATS server, or the cluster of them.
    pub nats: Nats,
    /// The PostgreSQL server, if the databases are in one.
    pub postgres: Option<Postgres>,
    /// One for each NATS server.
    proxies: Vec<Proxy>,
    setup: Setup,
    /// Where each replica of each service listens: gRPC and HTTP.
    ports: Vec<Vec<(u16, u16)>>,
    services: Vec<Vec<Replica>>,
    /// After those who keep files on them.
    disks: HashMap<Disk, SmallDisk>,
    /// How callers get at it.
    pub access: Access,
    folder: TempDir,
}

/// One process of a service.
struct Replica {
    process: Process,
    clock: Option<Clock>,
    http: u16,
}

/// How a system is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// What the installation is called.
    pub installation: &'static str,
    /// Where the services keep what they own.
    pub databases: Databases,
    /// How many NATS servers there are; the streams have as many replicas.
    pub nats_servers: usize,
    /// Whether the services reach NATS through proxies that can fail.
    pub is_proxied: bool,
    /// Whether files are on small file systems that can be filled, if this user may mount
    /// any.
    pub has_small_disks: bool,
    /// Whether the clocks of services and PostgreSQL can be made to jump, if there is a
    /// library for that.
    pub has_clocks: bool,
    /// Whether damaged streams are made anew without being asked.
    pub refills_streams: bool,
    /// The bug that the program has, if it was built to have any.
    pub planted: Option<Bug>,
    /// Where traces go, if anywhere: to a [`crate::Collector`] on this port.
    pub otlp_port: Option<u16>,
}

impl Setup {
    /// Everything real, one NATS server, and nothing that can be made to fail but processes.
    pub const fn new(databases: Databases) -> Self {
        Self {
            installation: "e2e",
            databases,
            nats_servers: 1,
            is_proxied: false,
            has_small_disks: false,
            has_clocks: false,
            refills_streams: false,
            planted: None,
            otlp_port: None,
        }
    }
}

impl System {
    /// Starts everything on SQLite files, and waits until it is ready.
    ///
    /// # Errors
    /// If a program cannot be started or is not ready in time.
    pub async fn start() -> Result<Self> {
        Self::start_on(Databases::Files).await
    }

    /// Starts everything, and waits until it is ready.
    ///
    /// # Errors
    /// If a program cannot be started or is not ready in time.
    pub async fn start_on(databases: Databases) -> Result<Self> {
        Self::start_with(Setup::new(databases)).await
    }

    /// Starts everything, and waits until it is ready.
    ///
    /// # Errors
    /// If a program cannot be started or is not ready in time.
    pub async fn start_with(setup: Setup) -> Result<Self> {
        let databases = setup.databases;
        let folder = TempDir::new()?;
        let mut disks = HashMap::new();
        if setup.has_small_disks {
            let services = Service::ALL.map(Disk::Service);
            for disk in [&services[..], &[Disk::Nats]].concat() {
                if let Some(mounted) = SmallDisk::mount(&place(folder.path(), disk))? {
                    disks.insert(disk, mounted);
                }
            }
        }
        let nats = match setup.nats_servers {
            1 => Nats::start(folder.path()).await?,
            servers => Nats::start_cluster(folder.path(), servers).await?,
        };
        let mut proxies = Vec::new();
        if setup.is_proxied {
            for port in nats.ports() {
                proxies.push(Proxy::start(port).await?);
            }
        }
        let key = chassis::auth::token::generate_key()?;
        fs::write(folder.path().join("key.pub"), &key.public_pem)?;
        let (postgres, replicas) = match databases {
            Databases::Files => (None, 1),
            Databases::Postgres { replicas } => {
                (Some(Postgres::start(folder.path(), setup.has_clocks).await?), replicas)
            }
        };
        let mut ports: Vec<Vec<(u16, u16)>> = Vec::new();
        for _ in Service::ALL {
            let each: Result<_> = (0..replicas).map(|_| Ok((free_port()?, free_port()?))).collect();
            ports.push(each?);
        }
        let addresses = |service: Service| {
            let replicas = ports[service as usize].iter();
            replicas.map(|(grpc, _)| format!("http://127.0.0.1:{grpc}")).collect()
        };
        let access = Access {
            addresses: Addresses {
                post: addresses(Service::Post),
                comment: addresses(Service::Comment),
                moderation: addresses(Service::Moderation),
                query: addresses(Service::Query),
            },
            nats_url: nats.url(),
            nats_login: None,
            private_pem: key.private_pem,
        };
        let services = Vec::new();
        let mut system =
            Self { nats, proxies, postgres, setup, ports, services, disks, access, folder };
        let token = system.token("services", Role::Operator)?;
        fs::write(system.folder.path().join("token"), token)?;
        for service in Service::ALL {
            fs::create_dir_all(place(system.folder(), Disk::Service(service)))?;
            if let Some(postgres) = &system.postgres
                && service != Service::Query
            {
                postgres.make(service.as_str()).await?;
            }
            let replicas: Result<_> = (0..replicas).map(|n| system.spawn(service, n)).collect();
            system.services.push(replicas?);
        }
        for service in Service::ALL {
            system.ready(service).await?;
        }
        Ok(system)
    }

    fn spawn(&self, service: Service, replica: usize) -> Result<Replica> {
        let folder = self.folder.path();
        let name = service.as_str();
        let (_, http) = self.ports[service as usize][replica];
        let mut environment = self.environment(service, replica)?;
        let log = folder.join(format!("{name}-{replica}.log"));
        let clock = match self.setup.has_clocks {
            true => Clock::new(&folder.join(format!("{name}-{replica}.clock")))?,
            false => None,
        };
        environment.extend(clock.iter().flat_map(Clock::environment));
        let process = Process::start(&program("agora")?, &["serve", name], &environment, &log)?;
        Ok(Replica { process, clock, http })
    }

    /// How a replica is set up.
    pub(crate) fn environment(
        &self,
        service: Service,
        replica: usize,
    ) -> Result<Vec<(&'static str, String)>> {
        let folder = self.folder.path();
        let name = service.as_str();
        let (grpc, http) = self.ports[service as usize][replica];
        let keys = serde_json::json!([folder.join("key.pub")]).to_string();
        let url = match self.proxies.as_slice() {
            [] => self.nats.url(),
            proxies => {
                let urls = proxies.iter().map(|proxy| format!("nats://127.0.0.1:{}", proxy.port()));
                urls.collect::<Vec<_>>().join(",")
            }
        };
        let mut environment = vec![
            ("AGORA_SERVER__LISTEN", format!("127.0.0.1:{grpc}")),
            ("AGORA_SERVER__HTTP_LISTEN", format!("127.0.0.1:{http}")),
            ("AGORA_SERVER__SECRET", "the secret that all replicas share".to_owned()),
            ("AGORA_INSTALLATION__NAME", self.setup.installation.to_owned()),
            ("AGORA_NATS__URL", url),
            ("AGORA_NATS__REPLICAS", self.setup.nats_servers.to_string()),
            ("AGORA_NATS__REFILL_STREAMS", self.setup.refills_streams.to_string()),
            ("AGORA_AUTH__PUBLIC_KEYS", keys),
        ];
        if let Some(port) = self.setup.otlp_port {
            environment
                .push(("AGORA_TELEMETRY__OTLP_ENDPOINT", format!("http://127.0.0.1:{port}")));
            environment.push(("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()));
        }
        if let Some(bug) = self.setup.planted {
            environment.push((chassis::planted::VARIABLE, bug.name()));
        }
        match &self.postgres {
            Some(postgres) if service != Service::Query => {
                environment.push(("AGORA_DATABASE__URL", postgres.url(name)));
            }
            _ => {
                let database = self.database_of(service, replica).display().to_string();
                environment.push(("AGORA_DATABASE__PATH", database));
            }
        }
        if service == Service::Query {
            environment.extend(self.fallback());
        }
        environment.extend(self.owners(service, replica));
        if service == Service::Comment {
            let posts = &self.access.addresses.post;
            environment.push(("AGORA_POST_SERVICE__URL", posts[replica % posts.len()].clone()));
        }
        Ok(environment)
    }

    /// The database file of a service's first replica.
    pub fn database(&self, service: Service) -> PathBuf {
        self.database_of(service, 0)
    }

    fn database_of(&self, service: Service, replica: usize) -> PathBuf {
        let folder = place(self.folder.path(), Disk::Service(service));
        folder.join(format!("{}-{replica}.db", service.as_str()))
    }

    /// A file system of its own, if there is one.
    pub fn disk(&self, disk: Disk) -> Option<&SmallDisk> {
        self.disks.get(&disk)
    }

    /// The folder of everything that the system keeps.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process of a service's first replica.
    pub fn process(&mut self, service: Service) -> &mut Process {
        self.replica(service, 0)
    }

    /// The process of a replica.
    pub fn replica(&mut self, service: Service, replica: usize) -> &mut Process {
        &mut self.services[service as usize][replica].process
    }

    /// Has every replica of a service be another program, one after the other: each is
    /// stopped, and the next one's turn comes when it is ready again.
    ///
    /// # Errors
    /// If one does not stop, or is not ready in time.
    pub async fn replace(&mut self, service: Service, program: &Path) -> Result {
        for replica in 0..self.replicas(service) {
            let process = self.replica(service, replica);
            process.stop().await?;
            process.become_program(program, None);
            process.restart()?;
            self.ready(service).await?;
        }
        Ok(())
    }

    /// Starts the replicas of a service anew, with their databases where this system has them
    /// now.
    ///
    /// # Errors
    /// If one cannot be started.
    pub fn start_anew(&mut self, service: Service) -> Result {
        for replica in 0..self.replicas(service) {
            self.services[service as usize][replica] = self.spawn(service, replica)?;
        }
        Ok(())
    }

    /// The clock that a replica sees, if it is not the machine's.
    pub fn clock(&self, service: Service, replica: usize) -> Option<&Clock> {
        self.services[service as usize][replica].clock.as_ref()
    }

    /// How many replicas a service has.
    pub fn replicas(&self, service: Service) -> usize {
        self.services[service as usize].len()
    }

    /// Starts every process again that has ended by itself, as a supervisor does.
    ///
    /// # Errors
    /// If one cannot be started.
    pub fn revive(&mut self) -> Result {
        for replica in self.services.iter_mut().flatten() {
            if replica.process.has_ended() {
                replica.process.restart()?;
            }
        }
        Ok(())
    }

    /// What the services have printed last.
    pub fn output(&self) -> String {
        const LINES: usize = 60;
        let mut text = String::new();
        for service in Service::ALL {
            for (number, replica) in self.services[service as usize].iter().enumerate() {
                let output = replica.process.output();
                let lines: Vec<&str> = output.lines().collect();
                let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
                text += &format!("{service} {number} printed at last:\n{last}\n");
            }
        }
        text
    }

    /// What the services reach NATS through: one for each server, if they can fail.
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// Waits until every replica of a service says that it is ready.
    ///
    /// # Errors
    /// If one does not in time.
    pub async fn ready(&self, service: Service) -> Result {
        for (number, replica) in self.services[service as usize].iter().enumerate() {
            let ready = || async { http_get(replica.http, "/readyz").await.is_some() };
            wait_until("a service", ready).await.map_err(|error| {
                let output = replica.process.output();
                format!("{error}: {} {number} printed:\n{output}", service.as_str())
            })?;
        }
        Ok(())
    }

    /// Which replicas of a service say that they lead.
    pub async fn leaders(&self, service: Service) -> Vec<usize> {
        let line = format!("agora_leader{{service=\"{}\"}} 1", service.as_str());
        let mut leaders = Vec::new();
        for (number, replica) in self.services[service as usize].iter().enumerate() {
            let metrics = http_get(replica.http, "/metrics").await.unwrap_or_default();
            if metrics.lines().any(|found| found == line) {
                leaders.push(number);
            }
        }
        leaders
    }

    /// What a service's first replica measures.
    pub async fn metrics(&self, service: Service) -> Option<String> {
        http_get(self.services[service as usize].first()?.http, "/metrics").await
    }

    /// What a service's first replica says of its parts, as long as it is ready.
    pub async fn health(&self, service: Service) -> Option<String> {
        http_get(self.services[service as usize].first()?.http, "/readyz").await
    }
}

/// Where the files are that belong on a file system of their own.
fn place(folder: &Path, disk: Disk) -> PathBuf {
    match disk {
        Disk::Service(service) => folder.join(service.as_str()),
        Disk::Nats => folder.join("nats"),
    }
}

/// What a server on loopback answers with 200, within a second.
pub async fn http_get(port: u16, path: &str) -> Option<String> {
    let (head, body) = http_answer(port, path).await?;
    head.starts_with("HTTP/1.1 200").then_some(body)
}

/// What a server on loopback answers within a second: the head, and the body.
pub async fn http_answer(port: u16, path: &str) -> Option<(String, String)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let get = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(Duration::from_secs(1), get).await.ok()?.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.to_owned(), body.to_owned()))
}
