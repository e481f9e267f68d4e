//! NATS behind TLS, with certificates of a CA of one's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use e2e::{Process, Result, free_port, http_answer, program, wait_until};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::{net::TcpStream, process::Command};

use crate::start::Alone;

const CANNOT: &str = "NATS cannot be reached";

/// A CA of one's own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

/// A certificate and its key.
struct Pair {
    cert: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let file = folder.join(name);
        fs::write(&file, issuer.pem())?;
        Ok(Self { issuer, file })
    }

    /// A certificate for a host, which may be expired.
    fn issue(&self, folder: &Path, host: &str, year: i32) -> Result<Pair> {
        let mut params = CertificateParams::new([host.to_owned()])?;
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        let name = format!("{host}-{year}");
        let pair = Pair {
            cert: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
        };
        fs::write(&pair.cert, cert.pem())?;
        fs::write(&pair.key, key.serialize_pem())?;
        Ok(pair)
    }
}

/// A NATS server that speaks TLS alone.
struct Server {
    process: Process,
    port: u16,
}

impl Server {
    /// With what it shows, and the CA that its clients' certificates must be signed by.
    async fn start(folder: &Path, shows: &Pair, asks: Option<&Authority>) -> Result<Self> {
        let program = std::env::var("AGORA_NATS_SERVER").unwrap_or("nats-server".into());
        let port = free_port()?;
        let text = |path: &Path| path.display().to_string();
        let mut arguments = ["-js", "-a", "127.0.0.1", "--tls"].map(str::to_owned).to_vec();
        arguments.extend(["-p".into(), port.to_string()]);
        arguments.extend(["-sd".into(), text(&folder.join(format!("nats-{port}")))]);
        arguments.extend(["--tlscert".into(), text(&shows.cert)]);
        arguments.extend(["--tlskey".into(), text(&shows.key)]);
        if let Some(authority) = asks {
            arguments.push("--tlsverify".into());
            arguments.extend(["--tlscacert".into(), text(&authority.file)]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let log = folder.join(format!("nats-{port}.log"));
        let process = Process::start(Path::new(&program), &arguments, &[], &log)?;
        let server = Self { process, port };
        let listens = || async { TcpStream::connect(("127.0.0.1", port)).await.is_ok() };
        wait_until("nats-server", listens).await?;
        Ok(server)
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

/// The post service, which finds NATS at `url`.
fn post(folder: &Path, url: &str, settings: &[(&str, &Path)]) -> Result<Alone> {
    let folder = TempDir::new_in(folder)?.keep();
    let mut all = vec![
        ("AGORA_NATS__URL", url.to_owned()),
        ("AGORA_DATABASE__PATH", folder.join("post.db").display().to_string()),
    ];
    all.extend(settings.iter().map(|(name, path)| (*name, path.display().to_string())));
    Alone::start(&folder, "post", &all)
}

async fn readyz(service: &Alone) -> String {
    http_answer(service.http, "/readyz").await.map(|(_, body)| body).unwrap_or_default()
}

const CA: &str = "AGORA_NATS__CA_FILE";
const CERT: &str = "AGORA_NATS__CERT_FILE";
const KEY: &str = "AGORA_NATS__KEY_FILE";

/// Waits until a service says why it does not reach NATS, in its log and as health.
async fn tells(service: &Alone, reason: &str) -> Result {
    let told = wait_until(reason, || async {
        let health = readyz(service).await;
        let output = service.process.output();
        let logged = |line: &str| [CANNOT, reason, "WARN"].iter().all(|it| line.contains(it));
        health.contains("NATS: ready: not connected: ")
            && health.contains(reason)
            && output.lines().any(logged)
    });
    told.await.map_err(|error| format!("{error}; it printed:\n{}", service.process.output()).into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_of_ones_own_is_believed_where_it_is_named_and_else_the_reason_is_told() -> Result {
    let folder = TempDir::new()?;
    let folder = folder.path();
    let authority = Authority::new(folder, "ca.pem")?;
    let shows = authority.issue(folder, "127.0.0.1", 2999)?;
    let nats = Server::start(folder, &shows, None).await?;
    let ca: &[(&str, &Path)] = &[(CA, &authority.file)];

    let service = post(folder, &nats.url(), ca)?;
    wait_until("a ready service", || service.is_ready()).await?;
    assert!(readyz(&service).await.contains("NATS: ready: connected"));

    let stranger = post(folder, &nats.url(), &[])?;
    tells(&stranger, "invalid peer certificate: UnknownIssuer").await?;
    // Told once, however often it is tried.
    let tries = || nats.process.output().matches("TLS handshake error").count();
    let before = tries();
    wait_until("more tries", || async { tries() > before + 2 }).await?;
    let output = stranger.process.output();
    assert_eq!(output.matches(CANNOT).count(), 1, "{output}");

    let elsewhere = authority.issue(folder, "elsewhere.example", 2999)?;
    let wrong_name = Server::start(folder, &elsewhere, None).await?;
    let expired = authority.issue(folder, "127.0.0.1", 2020)?;
    let expired = Server::start(folder, &expired, None).await?;
    let plain = e2e::Nats::start(folder).await?;
    let nobody = format!("nats://127.0.0.1:{}", free_port()?);
    let table = [
        (wrong_name.url(), "certificate not valid for name"),
        (expired.url(), "certificate expired"),
        (nobody, "Connection refused"),
        ("nats://nowhere.invalid:4222".to_owned(), "DNS error: "),
        // Whoever names a CA never speaks in the clear.
        (plain.url(), "IO error: "),
    ];
    for (url, reason) in table {
        let service = post(folder, &url, ca)?;
        tells(&service, reason).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_ask_for_a_certificate() -> Result {
    let folder = TempDir::new()?;
    let folder = folder.path();
    let authority = Authority::new(folder, "ca.pem")?;
    let another = Authority::new(folder, "another-ca.pem")?;
    let shows = authority.issue(folder, "127.0.0.1", 2999)?;
    let own = authority.issue(folder, "agora", 2999)?;
    let others = another.issue(folder, "other", 2999)?;
    let nats = Server::start(folder, &shows, Some(&authority)).await?;
    let nats_url = nats.url();
    let (ca, cert, key) = ((CA, &*authority.file), (CERT, &*own.cert), (KEY, &*own.key));

    let service = post(folder, &nats_url, &[ca, cert, key])?;
    wait_until("a ready service", || service.is_ready()).await?;

    for settings in [&[ca][..], &[ca, (CERT, &others.cert), (KEY, &others.key)]] {
        let service = post(folder, &nats_url, settings)?;
        tells(&service, "IO error: ").await?;
        assert!(!service.is_ready().await);
    }

    let nowhere = folder.join("nowhere.pem");
    let table: [(&[(&str, &Path)], &str); 5] = [
        (&[ca, cert, (KEY, &others.key)], "hold no pair of certificate and key"),
        (&[ca, cert], "nats.cert_file and nats.key_file belong together"),
        (&[ca, key], "nats.cert_file and nats.key_file belong together"),
        (&[(CA, &nowhere)], "cannot read nats.ca_file"),
        (&[(CA, &own.key)], "holds no certificate in PEM format"),
    ];
    for (settings, expected) in table {
        let line = post(folder, &nats_url, settings)?.last_line().await?;
        assert!(line.starts_with("error: ") && line.contains(expected), "{line}");
    }
    Ok(())
}

/// Runs a command of `agora` on a data folder.
async fn agora(data: &Path, arguments: &[&str], settings: &[(&str, &Path)]) -> Result<Output> {
    let mut command = Command::new(program("agora")?);
    command.arg("--data").arg(data).args(arguments);
    command.envs(settings.iter().map(|(name, path)| (name, path.as_os_str())));
    Ok(command.output().await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_read_streams_over_tls() -> Result {
    let folder = TempDir::new()?;
    let folder = folder.path();
    let authority = Authority::new(folder, "ca.pem")?;
    let shows = authority.issue(folder, "127.0.0.1", 2999)?;
    let own = authority.issue(folder, "agora", 2999)?;
    let nats = Server::start(folder, &shows, Some(&authority)).await?;
    let data = folder.join("data");
    let text = data.display().to_string();
    let (url, log) = (nats.url(), folder.join("agora.log"));
    let arguments = ["up", "--data", &text, "--nats-url", &url];
    let mut environment = vec![
        ("AGORA_SERVER__LISTEN", "127.0.0.1:0".to_owned()),
        ("AGORA_SERVER__HTTP_LISTEN", "127.0.0.1:0".to_owned()),
    ];
    for (name, path) in [(CA, &authority.file), (CERT, &own.cert), (KEY, &own.key)] {
        environment.push((name, path.display().to_string()));
    }
    let up = Process::start(&program("agora")?, &arguments, &environment, &log)?;
    let created = || async {
        let create = ["post", "create", "--title", "over TLS", "--body", "words"];
        agora(&data, &create, &[]).await.is_ok_and(|output| output.status.success())
    };
    wait_until("a post", created).await.map_err(|error| format!("{error}: {}", up.output()))?;

    let files: [(&str, &Path); 3] = [
        ("AGORA_NATS_CA_FILE", &authority.file),
        ("AGORA_NATS_CERT_FILE", &own.cert),
        ("AGORA_NATS_KEY_FILE", &own.key),
    ];
    let output = agora(&data, &["verify"], &files).await?;
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("all is equal"), "{output:?}");

    let refused = async |settings: &[(&str, &Path)], expected: &str| {
        let output = agora(&data, &["verify"], settings).await?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(expected), "{error}");
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    refused(&[], "UnknownIssuer").await?;
    refused(&files[..1], "cannot reach NATS").await?;
    refused(&[("AGORA_NATS_CA_FILE", &own.key)], "--nats-ca-file").await?;
    refused(&files[..2], "--nats-key-file").await?;
    drop(up);

    // The server that `agora up` starts itself speaks no TLS.
    let output = agora(&data, &["up"], &[(CA, &authority.file)]).await?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("--nats-url"), "{error}");
    Ok(())
}
