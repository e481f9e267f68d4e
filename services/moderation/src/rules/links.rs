use std::sync::LazyLock;

use regex::Regex;

/// Addresses with a scheme or `www.`, and bare names under common top-level domains.
static LINK: LazyLock<Regex> = LazyLock::new(|| {
    let name = r"(?:[\p{L}\p{N}](?:[\p{L}\p{N}-]{0,61}[\p{L}\p{N}])?\.)+";
    let top = "com|net|org|info|biz|co|io|me|tv|ru|de|uk|us|fr|nl|eu|ly|be|gl|gd|tk|ml|xyz|top\
               |online|site|club|shop|store|live|app|dev|link|click|vip|win|bid";
    let rest = r#"[^\s<>"']*"#;
    let pattern = format!(r"(?:https?://|www\.){rest}|\b{name}(?:{top})\b(?:[/:?#]{rest})?");
    Regex::new(&pattern).expect("a constant that a test compiles")
});

/// The links of a text, by their hosts.
pub(super) struct Links<'t> {
    hosts: Vec<&'t str>,
}

impl<'t> Links<'t> {
    /// The links of a normal text. One address in a tag and as its text counts twice, as
    /// a reader sees it twice.
    pub(super) fn of(text: &'t str) -> Self {
        Self { hosts: LINK.find_iter(text).map(|link| host(link.as_str())).collect() }
    }

    pub(super) fn count(&self) -> usize {
        self.hosts.len()
    }

    /// Every domain that a host of the links belongs to: `a.b.com`, `b.com`, `com`.
    pub(super) fn domains(&self) -> impl Iterator<Item = &'t str> {
        self.hosts.iter().flat_map(|host| {
            std::iter::successors(Some(*host), |domain| Some(domain.split_once('.')?.1))
        })
    }
}

/// The host of a link: without scheme, user, port and path.
fn host(link: &str) -> &str {
    let link = link.strip_prefix("http://").or(link.strip_prefix("https://")).unwrap_or(link);
    let authority = link.split(['/', '?', '#']).next().unwrap_or(link);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    host.split(':').next().unwrap_or(host).trim_end_matches('.')
}
