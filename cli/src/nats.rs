//! The connection to NATS of commands that read streams.

use std::path::PathBuf;

use async_nats::{ConnectOptions, jetstream};
use chassis::host::{Names, Tls};

use crate::{client, error::Error, folder::Folder, options::Options};

/// Where NATS is, and how to log in there.
#[derive(Debug, clap::Args)]
pub struct Nats {
    /// Where NATS is, several servers separated by commas [default: that of the running `agora
    /// up`]
    #[arg(long, value_name = "URL", env = "AGORA_NATS_URL")]
    nats_url: Option<String>,
    /// Who logs in there, with the password
    #[arg(long, value_name = "USER", env = "AGORA_NATS_USER", requires = "nats_password")]
    nats_user: Option<String>,
    /// The password; better in the environment
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "AGORA_NATS_PASSWORD",
        hide_env_values = true,
        requires = "nats_user"
    )]
    nats_password: Option<String>,
    /// A .creds file to log in with
    #[arg(long, value_name = "FILE", env = "AGORA_NATS_CREDENTIALS_FILE")]
    nats_credentials_file: Option<PathBuf>,
    /// A PEM file with the certificates of the CA that signs the servers' [default: those
    /// that this machine trusts]
    #[arg(long, value_name = "FILE", env = "AGORA_NATS_CA_FILE")]
    nats_ca_file: Option<PathBuf>,
    /// A PEM file with the certificate to show the server, for mutual TLS
    #[arg(long, value_name = "FILE", env = "AGORA_NATS_CERT_FILE", requires = "nats_key_file")]
    nats_cert_file: Option<PathBuf>,
    /// A PEM file with the private key of that certificate
    #[arg(long, value_name = "FILE", env = "AGORA_NATS_KEY_FILE", requires = "nats_cert_file")]
    nats_key_file: Option<PathBuf>,
}

const FLAGS: Names =
    Names { ca_file: "--nats-ca-file", cert_file: "--nats-cert-file", key_file: "--nats-key-file" };

/// Connects to NATS.
pub async fn connect(options: &Options, nats: &Nats) -> Result<jetstream::Context, Error> {
    let url = match &nats.nats_url {
        Some(url) => url.clone(),
        None => of_running(options)?,
    };
    if url.contains('@') {
        // Addresses are printed.
        let message = "--nats-url holds a password: give --nats-user and AGORA_NATS_PASSWORD";
        return Err(Error::plain(message));
    }
    let mut login = ConnectOptions::new();
    if let (Some(user), Some(password)) = (&nats.nats_user, &nats.nats_password) {
        login = login.user_and_password(user.clone(), password.clone());
    }
    if let Some(path) = &nats.nats_credentials_file {
        let read = login.credentials_file(path).await;
        login = read.map_err(Error::file("read the credentials", path))?;
    }
    let tls = Tls {
        ca_file: nats.nats_ca_file.as_deref(),
        cert_file: nats.nats_cert_file.as_deref(),
        key_file: nats.nats_key_file.as_deref(),
    };
    login = tls.apply(login, FLAGS)?;
    let connected = login.connect(chassis::config::nats_servers(&url)).await;
    let client = connected.map_err(Error::failed(format!("cannot reach NATS at {url}")))?;
    Ok(jetstream::new(client))
}

/// Where the NATS of the running `agora up` is.
fn of_running(options: &Options) -> Result<String, Error> {
    let folder = Folder::find(options.data.as_deref())?;
    let run = folder
        .running()
        .ok_or_else(|| folder.not_running("name another folder with --data, or give --nats-url"))?;
    // Its streams are not those of a server elsewhere.
    if !client::is_all_of(options, &run) {
        return Err(Error::plain(format!(
            "the server that is named is not the `agora up` of the data folder {}: name its NATS \
             too, with --nats-url",
            folder.path().display()
        )));
    }
    Ok(run.nats)
}
