//! Envoy, set up as the routes in `deploy/kubernetes/gateway.yaml` have a Gateway set it up.

use std::{fs, path::Path, time::Duration};

use e2e::{Process, Result, Service, System, free_port};
use serde_json::{Value, json};

use super::{Certificate, Proxy, SHORTENED, WATCHED, backend};

/// How long a watch is silent: three minutes.
const SILENCE: Duration = Duration::from_secs(3 * 60 / SHORTENED);
/// How long it lets a stream be silent by itself, in seconds.
const IDLE: u64 = 5 * 60;
/// How long it lets an answer take by itself, in milliseconds.
const UNTOLD_MS: u64 = 15_000;

/// Starts one before a system; none if there is no Envoy here.
pub async fn start(system: &System) -> Result<Option<Proxy>> {
    let Ok(program) = std::env::var("AGORA_ENVOY") else {
        eprintln!("no Envoy, so it is not tried: `./dev test` fetches one");
        return Ok(None);
    };
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kubernetes/gateway.yaml");
    let manifest = fs::read_to_string(file)?;
    let (grpc_route, http_route) =
        manifest.split_once("kind: HTTPRoute").ok_or("there is no HTTPRoute")?;
    let by_service = paths(grpc_route, "service: ", |service| format!("/{service}/"))?;
    let by_path = paths(http_route, "value: ", str::to_owned)?;
    // What one rule says, all must.
    let told = http_route.matches("timeouts: {request: 0s}").count() == by_path.len();
    assert!(told, "the HTTPRoute leaves the time-out as it is");

    let folder = system.folder().join("envoy");
    fs::create_dir(&folder)?;
    let certificate = Certificate::make(&folder)?;
    let [grpc, web, tls, untold] = [free_port()?, free_port()?, free_port()?, free_port()?];
    let mut secured = listener(tls, &by_path, 0);
    secured["filter_chains"][0]["transport_socket"] = transport_socket(&certificate);
    let configuration = json!({"static_resources": {
        "listeners": [
            listener(grpc, &by_service, UNTOLD_MS),
            listener(web, &by_path, 0),
            secured,
            listener(untold, &by_service, UNTOLD_MS / SHORTENED),
        ],
        "clusters": Service::ALL.map(|service| cluster(system, service)),
    }});
    let file = folder.join("envoy.json");
    fs::write(&file, configuration.to_string())?;
    let arguments = ["-c", file.to_str().ok_or("not UTF-8")?, "--concurrency", "1"];
    let arguments = [&arguments[..], &["--disable-hot-restart", "-l", "warning"]].concat();
    let process = Process::start(Path::new(&program), &arguments, &[], &folder.join("log"))?;
    // Like a Gateway it speaks HTTP/1.1 and HTTP/2 on a port, whichever a caller begins with.
    let proxy =
        Proxy { process, grpc, web, tls, certificate, watch: web, untold, silence: SILENCE };
    proxy.ready().await.map(Some)
}

/// The paths of a route's rules, by what stands behind a key, and where they lead.
fn paths(route: &str, key: &str, path: impl Fn(&str) -> String) -> Result<Vec<(String, Service)>> {
    let rules = route.split("- matches: ").skip(1);
    let paths: Result<Vec<_>> = rules
        .map(|rule| {
            let matched = rule.split(key).nth(1).and_then(|rest| rest.split('}').next());
            Ok((path(matched.ok_or("a rule matches nothing")?), backend(rule)?))
        })
        .collect();
    let paths = paths?;
    assert_eq!(paths.len(), Service::ALL.len());
    Ok(paths)
}

fn listener(port: u16, paths: &[(String, Service)], timeout_ms: u64) -> Value {
    let watched = (WATCHED.to_owned(), Service::Query);
    let timeout = format!("{}.{:03}s", timeout_ms / 1_000, timeout_ms % 1_000);
    let routes: Vec<_> = paths
        .iter()
        .chain([&watched])
        .map(|(path, service)| {
            let route = json!({"cluster": service.as_str(), "timeout": timeout});
            json!({"match": {"prefix": path}, "route": route})
        })
        .collect();
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network\
                  .http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "agora",
        "codec_type": "AUTO",
        "stream_idle_timeout": format!("{}s", IDLE / SHORTENED),
        "route_config": {"virtual_hosts": [
            {"name": "agora", "domains": ["*"], "routes": routes},
        ]},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": router}},
        ],
    });
    let name = "envoy.filters.network.http_connection_manager";
    json!({
        "address": address(port),
        "filter_chains": [{"filters": [{"name": name, "typed_config": manager}]}],
    })
}

fn transport_socket(certificate: &Certificate) -> Value {
    let context =
        "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": context, "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [{
                "certificate_chain": {"filename": certificate.chain},
                "private_key": {"filename": certificate.key},
            }],
        }},
    })
}

/// A service, called by HTTP/2 as its Service's `appProtocol` asks.
fn cluster(system: &System, service: Service) -> Value {
    let addresses = system.addresses();
    let port = addresses.of(service)[0].rsplit(':').next().and_then(|port| port.parse().ok());
    let protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json!({
        "name": service.as_str(),
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": service.as_str(),
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port.unwrap())}}]}],
        },
        "typed_extension_protocol_options": {protocol: {
            "@type": format!("type.googleapis.com/{protocol}"),
            "explicit_http_config": {"http2_protocol_options": {}},
        }},
    })
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}
