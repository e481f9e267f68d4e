use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use figment::{
    Error as FigmentError, Figment, Metadata, Profile, Provider,
    error::Kind,
    providers::Serialized,
    util::nest,
    value::{Dict, Map, Value},
};
use serde::{Serialize, de::DeserializeOwned};

/// What the names of all variables begin with.
const PREFIX: &str = "AGORA_";
/// What stands between section and key in the name of a variable.
const SEPARATOR: &str = "__";

/// Why a configuration cannot be used: one line that names the setting and where it
/// stands.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{path}:{line} is not TOML: {message}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A setting that there is not.
    #[error("unknown setting {key} in {place}: there are {known}")]
    Unknown {
        /// Its path, such as `server.listen`.
        key: String,
        /// Where it stands.
        place: String,
        /// What could stand there.
        known: String,
    },
    /// A setting with a wrong value.
    #[error("wrong setting {key} in {place}: {what}")]
    Wrong {
        /// Its path, such as `server.listen`.
        key: String,
        /// Where it stands.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// The program's own defaults or flags make no configuration: a defect.
    #[error("cannot merge the configuration: {0}")]
    Layers(String),
}

/// Loads a configuration: the defaults, over them a TOML file, the environment and
/// flags. Flags that are `None` leave a setting as it is.
///
/// # Errors
/// [`ConfigError`]; a file that is named and absent is one.
pub fn load<C: Serialize + DeserializeOwned>(
    defaults: C,
    file: Option<&Path>,
    flags: impl Serialize,
) -> Result<C, ConfigError> {
    load_from(defaults, file, std::env::vars_os(), flags)
}

/// A configuration as TOML, secrets hidden.
pub fn print<C: Serialize>(config: &C) -> String {
    toml::to_string_pretty(config).unwrap_or_else(|error| format!("# {error}\n"))
}

fn load_from<C: Serialize + DeserializeOwned>(
    defaults: C,
    file: Option<&Path>,
    environment: impl Iterator<Item = (OsString, OsString)>,
    flags: impl Serialize,
) -> Result<C, ConfigError> {
    let mut figment = Figment::from(Serialized::defaults(defaults));
    if let Some(path) = file {
        figment = figment.merge(Layer::file(path)?);
    }
    for (name, value) in environment {
        if let Some(layer) = Layer::variable(&name, &value)? {
            figment = figment.merge(layer);
        }
    }
    figment = figment.merge(Layer::flags(flags)?);
    figment.extract().map_err(|error| explain(&figment, error))
}

/// Settings from one place.
struct Layer {
    place: String,
    settings: Dict,
}

impl Layer {
    fn file(path: &Path) -> Result<Self, ConfigError> {
        let file = |source| ConfigError::File { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(file)?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| ConfigError::Toml {
            path: path.to_owned(),
            line: line_of(&text, error.span()),
            message: error.message().replace('\n', ", "),
        })?;
        Ok(Self { place: path.display().to_string(), settings: settings(table)? })
    }

    /// A variable's setting, if it is one of ours. An empty one counts as absent.
    fn variable(name: &OsString, value: &OsString) -> Result<Option<Self>, ConfigError> {
        let Some(name) = name.to_str() else { return Ok(None) };
        let path = name.strip_prefix(PREFIX).filter(|path| path.contains(SEPARATOR));
        let Some(path) = path.filter(|_| !value.is_empty()) else { return Ok(None) };
        let key = path.to_lowercase().replace(SEPARATOR, ".");
        let place = format!("the variable {name}");
        let Some(value) = value.to_str() else {
            return Err(ConfigError::Wrong { key, place, what: "not UTF-8".into() });
        };
        let value: Value = value.parse().expect("whatever parses as nothing else is a text");
        let settings = nest(&key, value).into_dict().expect("a nested key is a table");
        Ok(Some(Self { place, settings }))
    }

    fn flags(flags: impl Serialize) -> Result<Self, ConfigError> {
        let mut settings = settings(flags)?;
        prune(&mut settings);
        Ok(Self { place: "the command line".into(), settings })
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.place.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, FigmentError> {
        Ok(Profile::Default.collect(self.settings.clone()))
    }
}

fn settings(layer: impl Serialize) -> Result<Dict, ConfigError> {
    let value = Value::serialize(layer).map_err(|error| ConfigError::Layers(error.to_string()))?;
    // `()` stands for no flags.
    if matches!(value, Value::Empty(..)) {
        return Ok(Dict::new());
    }
    value.into_dict().ok_or_else(|| ConfigError::Layers("a layer is no table".into()))
}

/// Takes out what is absent: it must not cover what the layers below say.
fn prune(settings: &mut Dict) {
    for value in settings.values_mut() {
        if let Value::Dict(_, settings) = value {
            prune(settings);
        }
    }
    settings.retain(|_, value| match value {
        Value::Empty(..) => false,
        Value::Dict(_, settings) => !settings.is_empty(),
        _ => true,
    });
}

/// The line in which a span begins, from 1.
fn line_of(text: &str, span: Option<std::ops::Range<usize>>) -> usize {
    let start = span.map_or(0, |span| span.start).min(text.len());
    1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count()
}

/// The error of an extraction, with the place of the setting.
fn explain(figment: &Figment, error: FigmentError) -> ConfigError {
    let mut key = error.path.join(".");
    if let Kind::UnknownField(name, known) = &error.kind {
        if error.path.last() != Some(name) {
            key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        }
        let place = place_of(figment, &key);
        return ConfigError::Unknown { key, place, known: known.join(", ") };
    }
    let place = place_of(figment, &key);
    let mut what = error.kind.to_string();
    if let Kind::InvalidType(_, expected) = &error.kind {
        if expected.contains("string") {
            what.push_str(" (put it in double quotes)");
        } else if expected.contains("sequence") {
            what.push_str(r#" (write ["a", "b"])"#);
        }
    }
    ConfigError::Wrong { key, place, what }
}

fn place_of(figment: &Figment, key: &str) -> String {
    figment.find_metadata(key).map_or_else(|| "the defaults".into(), |found| found.name.to_string())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::config::{LogFormat, Nats, Secret, Server, Telemetry};

    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Config {
        server: Server,
        nats: Nats,
        telemetry: Telemetry,
    }

    #[derive(Default, Serialize)]
    struct Flags {
        server: ServerFlags,
    }

    #[derive(Default, Serialize)]
    struct ServerFlags {
        max_in_flight: Option<usize>,
        listen: Option<String>,
    }

    fn load(
        file: Option<&str>,
        environment: &[(&str, &str)],
        flags: Flags,
    ) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agora.toml");
        if let Some(text) = file {
            fs::write(&path, text).unwrap();
        }
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
        load_from(Config::default(), file.map(|_| path.as_path()), environment, flags)
    }

    fn refused(file: Option<&str>, environment: &[(&str, &str)]) -> String {
        let error = load(file, environment, Flags::default()).unwrap_err().to_string();
        assert!(!error.contains('\n'), "one line: {error}");
        error
    }

    #[test]
    fn layers_cover_each_other() {
        let file = "[server]\nmax_in_flight = 1\nmax_request_bytes = 2\nrequest_timeout_ms = 3\n";
        let environment = [
            ("AGORA_SERVER__MAX_IN_FLIGHT", "10"),
            ("AGORA_SERVER__MAX_REQUEST_BYTES", "20"),
            ("AGORA_TEST_DATA", "not a setting"),
            ("AGORA_TELEMETRY__OTLP_ENDPOINT", ""),
            ("HOME", "/"),
        ];
        let server = ServerFlags { max_in_flight: Some(100), listen: None };
        let config = load(Some(file), &environment, Flags { server }).unwrap();
        assert_eq!(config.server.max_in_flight, 100, "the flag");
        assert_eq!(config.server.max_request_bytes, 20, "the variable");
        assert_eq!(config.server.request_timeout_ms, 3, "the file");
        assert_eq!(config.server.listen, Server::default().listen, "the default");
        assert_eq!(config.telemetry.otlp_endpoint, None);
    }

    #[test]
    fn variables_hold_texts_lists_and_names() {
        let environment = [
            ("AGORA_SERVER__CORS_ORIGINS", r#"["https://a.example", "https://b.example"]"#),
            ("AGORA_SERVER__LISTEN", "[::1]:7500"),
            ("AGORA_TELEMETRY__LOG_FORMAT", "json"),
            ("AGORA_NATS__PASSWORD", "correct horse"),
        ];
        let config = load(None, &environment, Flags::default()).unwrap();
        assert_eq!(config.server.cors_origins, ["https://a.example", "https://b.example"]);
        assert_eq!(config.server.listen, "[::1]:7500".parse().unwrap());
        assert_eq!(config.telemetry.log_format, LogFormat::Json);
        assert_eq!(config.nats.password.unwrap().expose(), "correct horse");
    }

    #[test]
    fn unknown_settings_are_named_with_their_place() {
        let error = refused(Some("[server]\nport = 1\n"), &[]);
        assert!(error.contains("server.port in"), "{error}");
        assert!(error.contains("agora.toml"), "{error}");
        assert!(error.contains("http_listen"), "{error}");
        let error = refused(Some("[sever]\nlisten = 1\n"), &[]);
        assert!(error.contains("unknown setting sever in"), "{error}");
        let error = refused(None, &[("AGORA_SERVER__PORT", "1")]);
        assert!(error.contains("server.port in the variable AGORA_SERVER__PORT"), "{error}");
        let error = refused(None, &[("AGORA_TYPO__LISTEN", "1")]);
        assert!(error.contains("typo in the variable AGORA_TYPO__LISTEN"), "{error}");
    }

    #[test]
    fn wrong_values_are_named_with_their_place() {
        let error = refused(Some("[server]\nmax_in_flight = \"many\"\n"), &[]);
        assert!(error.contains("server.max_in_flight in"), "{error}");
        assert!(error.contains("agora.toml"), "{error}");
        let error = refused(Some("server = 3\n"), &[]);
        assert!(error.contains("wrong setting server in"), "{error}");
        let error = refused(None, &[("AGORA_SERVER__LISTEN", "here")]);
        assert!(error.contains("server.listen in the variable AGORA_SERVER__LISTEN"), "{error}");
        let error = refused(None, &[("AGORA_SERVER__CORS_ORIGINS", "https://a.example")]);
        assert!(error.contains(r#"["a", "b"]"#), "{error}");
        let error = refused(None, &[("AGORA_NATS__PASSWORD", "0123")]);
        assert!(error.contains("double quotes"), "{error}");
        let error = refused(None, &[("AGORA_TELEMETRY__LOG_FORMAT", "yaml")]);
        assert!(error.contains("telemetry.log_format"), "{error}");
        let server = ServerFlags { max_in_flight: None, listen: Some("here".into()) };
        let error = load(None, &[], Flags { server }).unwrap_err().to_string();
        assert!(error.contains("server.listen in the command line"), "{error}");
    }

    #[test]
    fn a_file_must_be_there_and_be_toml() {
        let absent = Path::new("/nonexistent/agora.toml");
        let error = super::load(Config::default(), Some(absent), ()).unwrap_err();
        assert!(matches!(error, ConfigError::File { .. }), "{error}");
        let error = refused(Some("[server]\n\nlisten = \n"), &[]);
        assert!(error.contains("agora.toml:3 is not TOML"), "{error}");
    }

    #[test]
    fn secrets_are_hidden_in_print_and_cannot_be_read_back() {
        let mut config = Config::default();
        config.nats.password = Some(Secret::from("correct horse"));
        let printed = print(&config);
        assert!(printed.contains(r#"password = "[hidden]""#), "{printed}");
        assert!(!printed.contains("horse") && !format!("{config:?}").contains("horse"));
        assert!(refused(Some(&printed), &[]).contains("not [hidden]"));
    }

    #[test]
    fn what_is_printed_is_the_configuration() {
        let printed = print(&Config::default());
        let config = load(Some(&printed), &[], Flags::default()).unwrap();
        assert_eq!(print(&config), printed);
    }
}
