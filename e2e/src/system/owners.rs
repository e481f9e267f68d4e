//! Whom services ask for what others own.

use super::{Service, System};

impl System {
    /// Whom a service asks for journals. Those that come after it listen where it is told
    /// only once they run: addresses are given out before.
    pub(super) fn owners(&self, service: Service, replica: usize) -> Vec<(&'static str, String)> {
        if service == Service::Post {
            return Vec::new();
        }
        let port = |owner: Service| {
            let ports = &self.ports[owner as usize];
            format!("http://127.0.0.1:{}", ports[replica % ports.len()].0)
        };
        vec![
            ("AGORA_OWNERS__POST_URL", port(Service::Post)),
            ("AGORA_OWNERS__COMMENT_URL", port(Service::Comment)),
            ("AGORA_OWNERS__MODERATION_URL", port(Service::Moderation)),
            ("AGORA_OWNERS__TOKEN_FILE", self.folder.path().join("token").display().to_string()),
        ]
    }

    /// Whom the query service asks while its view is away.
    pub(super) fn fallback(&self) -> [(&'static str, String); 3] {
        let after = ("AGORA_FALLBACK__AFTER_MS", "3000".to_owned());
        match &self.postgres {
            Some(postgres) => [
                ("AGORA_FALLBACK__POST__URL", postgres.reading_url("post")),
                ("AGORA_FALLBACK__COMMENT__URL", postgres.reading_url("comment")),
                after,
            ],
            None => {
                let path = |service| self.database(service).display().to_string();
                [
                    ("AGORA_FALLBACK__POST__PATH", path(Service::Post)),
                    ("AGORA_FALLBACK__COMMENT__PATH", path(Service::Comment)),
                    after,
                ]
            }
        }
    }
}
