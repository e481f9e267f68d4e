//! The files that TLS needs on the way to NATS. They are checked when a process starts; the
//! client reads them again whenever it connects, so that they can be replaced before they
//! expire.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

use async_nats::{
    ConnectOptions,
    rustls::{
        self, ClientConfig, RootCertStore,
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject as _},
        },
    },
};

/// The files, as far as they are set.
#[derive(Clone, Copy, Debug)]
pub struct Tls<'a> {
    /// The certificates that a server's must be signed by, instead of the machine's.
    pub ca_file: Option<&'a Path>,
    /// The certificate that the server is shown.
    pub cert_file: Option<&'a Path>,
    /// Its key.
    pub key_file: Option<&'a Path>,
}

/// What the files are called where they are set, for errors.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// Of [`Tls::ca_file`].
    pub ca_file: &'static str,
    /// Of [`Tls::cert_file`].
    pub cert_file: &'static str,
    /// Of [`Tls::key_file`].
    pub key_file: &'static str,
}

impl Names {
    /// In the configuration of a service.
    pub const SETTINGS: Self =
        Self { ca_file: "nats.ca_file", cert_file: "nats.cert_file", key_file: "nats.key_file" };
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("cannot read {setting} {path}")]
    Read {
        /// What names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error("{setting} {path} holds no {what} in PEM format")]
    Empty {
        /// What names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// What it holds is broken.
    #[error("{setting} {path} holds a {what} that cannot be used")]
    Unusable {
        /// What names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A certificate without a key, or the reverse.
    #[error("{} and {} belong together: one of them is missing", .0.cert_file, .0.key_file)]
    Half(Names),
    /// The key is another certificate's.
    #[error("{cert} {cert_path} and {key} {key_path} hold no pair of certificate and key")]
    NoPair {
        /// What names the certificate.
        cert: &'static str,
        /// The certificate's file.
        cert_path: PathBuf,
        /// What names the key.
        key: &'static str,
        /// The key's file.
        key_path: PathBuf,
        /// Why.
        #[source]
        source: Box<rustls::Error>,
    },
}

const CERTIFICATE: &str = "certificate";
const KEY: &str = "private key";

impl Tls<'_> {
    /// Has a connection use the files, and TLS whatever the server offers: who names a CA
    /// means never to speak in the clear.
    ///
    /// # Errors
    /// If a file cannot be used.
    pub fn apply(
        &self,
        mut options: ConnectOptions,
        names: Names,
    ) -> Result<ConnectOptions, TlsError> {
        if let Some(path) = self.ca_file {
            check_authorities(names.ca_file, path)?;
            options = options.add_root_certificates(path.to_owned()).require_tls(true);
        }
        match (self.cert_file, self.key_file) {
            (Some(cert), Some(key)) => {
                check_pair(names, cert, key)?;
                let (cert, key) = (cert.to_owned(), key.to_owned());
                Ok(options.add_client_certificate(cert, key).require_tls(true))
            }
            (None, None) => Ok(options),
            (Some(_), None) | (None, Some(_)) => Err(TlsError::Half(names)),
        }
    }
}

fn check_authorities(setting: &'static str, path: &Path) -> Result<(), TlsError> {
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(setting, path)? {
        authorities
            .add(certificate)
            .map_err(|source| unusable(setting, path, CERTIFICATE, source))?;
    }
    Ok(())
}

fn check_pair(names: Names, cert_path: &Path, key_path: &Path) -> Result<(), TlsError> {
    let chain = certificates(names.cert_file, cert_path)?;
    let setting = names.key_file;
    let key = PrivateKeyDer::from_pem_slice(&read(setting, key_path)?).map_err(|error| {
        let path = key_path.to_owned();
        match error {
            pem::Error::NoItemsFound => TlsError::Empty { setting, path, what: KEY },
            source => unusable(setting, &path, KEY, source),
        }
    })?;
    let client = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
    client.with_client_auth_cert(chain, key).map_err(|source| TlsError::NoPair {
        cert: names.cert_file,
        cert_path: cert_path.to_owned(),
        key: names.key_file,
        key_path: key_path.to_owned(),
        source: Box::new(source),
    })?;
    Ok(())
}

/// The certificates of a file, which holds at least one.
fn certificates(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(setting, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|source| unusable(setting, path, CERTIFICATE, source))?;
    if found.is_empty() {
        return Err(TlsError::Empty { setting, path: path.to_owned(), what: CERTIFICATE });
    }
    Ok(found)
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { setting, path: path.to_owned(), source })
}

fn unusable(
    setting: &'static str,
    path: &Path,
    what: &'static str,
    source: impl Error + Send + Sync + 'static,
) -> TlsError {
    TlsError::Unusable { setting, path: path.to_owned(), what, source: source.into() }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::error::chain;

    fn applied(ca: Option<&Path>, cert: Option<&Path>, key: Option<&Path>) -> Result<(), String> {
        let tls = Tls { ca_file: ca, cert_file: cert, key_file: key };
        let applied = tls.apply(ConnectOptions::new(), Names::SETTINGS);
        applied.map(drop).map_err(|error| chain(&error))
    }

    #[test]
    fn every_wrong_file_is_named_with_its_setting() {
        let folder = TempDir::new().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let pair = || rcgen::generate_simple_self_signed(["agora".to_owned()]).unwrap();
        let (one, other) = (pair(), pair());
        let cert = write("cert.pem", &one.cert.pem());
        let key = write("key.pem", &one.signing_key.serialize_pem());
        let other_key = write("other.pem", &other.signing_key.serialize_pem());
        let text = write("text.pem", "no certificate\n");
        let cut = write("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
        let junk =
            write("junk.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let nowhere = folder.path().join("nowhere.pem");

        assert_eq!(applied(None, None, None), Ok(()));
        assert_eq!(applied(Some(&cert), Some(&cert), Some(&key)), Ok(()));
        type File<'a> = Option<&'a PathBuf>;
        let table: [(File<'_>, File<'_>, File<'_>, &[&str]); 10] = [
            (Some(&nowhere), None, None, &["cannot read nats.ca_file", "nowhere.pem: No such"]),
            (Some(&text), None, None, &["nats.ca_file", "text.pem holds no certificate in PEM"]),
            (Some(&key), None, None, &["nats.ca_file", "key.pem holds no certificate in PEM"]),
            (Some(&cut), None, None, &["nats.ca_file", "cut.pem holds a certificate that cannot"]),
            (Some(&junk), None, None, &["nats.ca_file", "junk.pem holds a certificate that can"]),
            (None, Some(&cert), None, &["nats.cert_file and nats.key_file belong together"]),
            (None, None, Some(&key), &["nats.cert_file and nats.key_file belong together"]),
            (None, Some(&nowhere), Some(&key), &["cannot read nats.cert_file", "nowhere.pem"]),
            (None, Some(&cert), Some(&cert), &["nats.key_file", "cert.pem holds no private key"]),
            (
                None,
                Some(&cert),
                Some(&other_key),
                &["nats.cert_file", "cert.pem and nats.key_file", "other.pem hold no pair"],
            ),
        ];
        for (ca, cert, key, expected) in table {
            let path = |file: File<'_>| file.map(PathBuf::as_path).map(Path::to_owned);
            let (ca, cert, key) = (path(ca), path(cert), path(key));
            let refused = applied(ca.as_deref(), cert.as_deref(), key.as_deref()).unwrap_err();
            for text in expected {
                assert!(refused.contains(text), "{refused} has no {text}");
            }
        }
    }
}
