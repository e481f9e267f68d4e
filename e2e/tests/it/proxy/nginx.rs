//! nginx, set up as `deploy/kubernetes/ingress.yaml` has Ingress NGINX set it up.

use std::{fs, path::Path, time::Duration};

use e2e::{Process, Result, Service, System, free_port};

use super::{Certificate, Proxy, SHORTENED, WATCHED, backend};

/// How long a watch is silent: five minutes.
const SILENCE: Duration = Duration::from_secs(5 * 60 / SHORTENED);
/// How long it lets an answer be silent unless it is told, in seconds.
const UNTOLD: u64 = 60;

/// What the Ingress says.
struct Ingress {
    manifest: String,
    /// A path for each service.
    paths: Vec<(String, Service)>,
}

impl Ingress {
    fn read() -> Result<Self> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kubernetes/ingress.yaml");
        let manifest = fs::read_to_string(file)?;
        let mut paths = Vec::new();
        for rule in manifest.split("- path: ").skip(1) {
            let path = rule.lines().next().unwrap_or_default();
            paths.push((path.to_owned(), backend(rule)?));
        }
        assert_eq!(paths.len(), Service::ALL.len());
        Ok(Self { manifest, paths })
    }

    fn annotation(&self, name: &str) -> Result<&str> {
        let key = format!("nginx.ingress.kubernetes.io/{name}: ");
        let value = self.manifest.split(&key).nth(1).and_then(|rest| rest.lines().next());
        Ok(value.ok_or_else(|| format!("the Ingress has no {name}"))?.trim_matches('"'))
    }
}

/// Starts one before a system; none if there is no nginx here.
pub async fn start(system: &System) -> Result<Option<Proxy>> {
    let Ok(program) = std::env::var("AGORA_NGINX") else {
        eprintln!("no nginx, so it is not tried: `./dev test` finds or fetches one");
        return Ok(None);
    };
    let ingress = Ingress::read()?;
    let [grpc, web, tls, untold] = [free_port()?, free_port()?, free_port()?, free_port()?];
    let folder = system.folder().join("nginx");
    fs::create_dir(&folder)?;
    let certificate = Certificate::make(&folder)?;
    let (chain, key) = (certificate.chain.display(), certificate.key.display());
    let configuration = folder.join("nginx.conf");
    let at = folder.display();
    let told = locations(system, &ingress, ingress.annotation("proxy-read-timeout")?.parse()?)?;
    let not_told = locations(system, &ingress, UNTOLD)?;
    let text = format!(
        "daemon off; worker_processes 1; pid {at}/pid; error_log stderr;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off;\n\
         client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;\n\
         fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n\
         ssl_certificate {chain}; ssl_certificate_key {key};\n\
         server {{ listen 127.0.0.1:{grpc} http2; listen 127.0.0.1:{web};\n\
         listen 127.0.0.1:{tls} ssl http2;\n{told}}}\n\
         server {{ listen 127.0.0.1:{untold} http2;\n{not_told}}} }}\n"
    );
    fs::write(&configuration, text)?;
    let arguments = ["-e", "stderr", "-c", configuration.to_str().ok_or("not UTF-8")?];
    let process = Process::start(Path::new(&program), &arguments, &[], &folder.join("log"))?;
    let proxy =
        Proxy { process, grpc, web, tls, certificate, watch: grpc, untold, silence: SILENCE };
    proxy.ready().await.map(Some)
}

/// What the controller writes for each path.
fn locations(system: &System, ingress: &Ingress, timeout_s: u64) -> Result<String> {
    assert_eq!(ingress.annotation("backend-protocol")?, "GRPC");
    let size = ingress.annotation("proxy-body-size")?;
    let timeout = timeout_s / SHORTENED;
    let addresses = system.addresses();
    let watched = (WATCHED.to_owned(), Service::Query);
    let mut text = String::new();
    for (path, service) in ingress.paths.iter().chain([&watched]) {
        let address = addresses.of(*service)[0].replace("http://", "grpc://");
        text += &format!(
            "location {path} {{ client_max_body_size {size}; grpc_set_header Host $host; \
             grpc_connect_timeout 5s; grpc_send_timeout {timeout}s; grpc_read_timeout {timeout}s; \
             grpc_pass {address}; }}\n"
        );
    }
    Ok(text)
}
