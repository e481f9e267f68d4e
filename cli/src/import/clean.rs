//! What a platform made of a text, taken off again: byte order marks, HTML tags and
//! entities, control characters.

use std::borrow::Cow;

use html_escape::decode_html_entities;

/// Tags that platforms put into texts. Anything else in angle brackets is a person's.
const TAGS: [&str; 17] = [
    "a",
    "b",
    "blockquote",
    "br",
    "div",
    "em",
    "font",
    "i",
    "img",
    "p",
    "s",
    "span",
    "strike",
    "strong",
    "u",
    "ul",
    "wbr",
];

/// A text of several lines as its author wrote it.
pub fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    // Links that are open: where they lead, and where their text begins.
    let mut links: Vec<(String, usize)> = Vec::new();
    while let Some(start) = rest.find('<') {
        out.push_str(&decode_html_entities(&rest[..start]));
        rest = &rest[start..];
        let Some(tag) = Tag::parse(rest) else {
            out.push('<');
            rest = &rest[1..];
            continue;
        };
        rest = &rest[tag.length..];
        match (tag.name.as_str(), tag.closes) {
            ("br" | "p" | "div", false) => out.push('\n'),
            ("a", false) => links.push((tag.href.unwrap_or_default(), out.len())),
            ("a", true) => {
                if let Some((href, start)) = links.pop() {
                    end_link(&mut out, start, &href);
                }
            }
            _ => {}
        }
    }
    out.push_str(&decode_html_entities(rest));
    printable(&out, true)
}

/// A name in one line.
pub fn name(raw: &str) -> String {
    printable(&decode_html_entities(raw), false)
}

/// Without what cannot be printed, and without white space around it.
fn printable(text: &str, lines: bool) -> String {
    let ends: Cow<'_, str> = match text.contains('\r') {
        true => text.replace("\r\n", "\n").replace('\r', "\n").into(),
        false => text.into(),
    };
    let kept = ends.chars().filter_map(|character| match character {
        '\u{feff}' => None,
        '\n' | '\t' if lines => Some(character),
        '\n' | '\t' => Some(' '),
        character if character.is_control() => None,
        character => Some(character),
    });
    kept.collect::<String>().trim().to_owned()
}

/// Puts the address behind the text of a link, unless the text is the address, which
/// platforms like to shorten.
fn end_link(out: &mut String, start: usize, href: &str) {
    let shown = out[start..].trim().to_owned();
    let shown = shown.trim_end_matches("...").trim_end_matches('…');
    let bare = |address: &str| {
        let address = address.split_once("://").map_or(address, |(_, address)| address);
        address.trim_end_matches('/').to_owned()
    };
    if href.is_empty() {
        return;
    }
    if shown.is_empty() || bare(href) == bare(shown) || is_shortened(shown, href, &bare) {
        out.truncate(start);
        out.push_str(href);
        return;
    }
    out.push_str(&format!(" ({href})"));
}

/// Whether a shown address is the beginning of the real one. Short texts such as `h`
/// begin addresses by chance.
fn is_shortened(shown: &str, href: &str, bare: &impl Fn(&str) -> String) -> bool {
    shown.contains("://") && bare(href).starts_with(&bare(shown))
}

/// An HTML tag at the beginning of a text.
struct Tag {
    name: String,
    closes: bool,
    href: Option<String>,
    length: usize,
}

impl Tag {
    fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('<')?;
        let end = inner.find(['<', '>'])?;
        if !inner[end..].starts_with('>') {
            return None;
        }
        let inner = &inner[..end];
        let (closes, named) = match inner.strip_prefix('/') {
            Some(named) => (true, named),
            None => (false, inner),
        };
        let name_end =
            named.find(|character: char| !character.is_ascii_alphanumeric()).unwrap_or(named.len());
        let name = named[..name_end].to_ascii_lowercase();
        if !TAGS.contains(&name.as_str()) {
            return None;
        }
        let href = href(&named[name_end..]);
        Some(Self { name, closes, href, length: end + 2 })
    }
}

/// The value of the attribute `href`.
fn href(attributes: &str) -> Option<String> {
    let start = attributes.find("href=")? + "href=".len();
    let value = &attributes[start..];
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''));
    let value = match quote {
        Some(quote) => value[1..].split(quote).next()?,
        None => value.split_whitespace().next()?,
    };
    Some(decode_html_entities(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_as_their_authors_wrote_them() {
        for (raw, cleaned) in [
            ("plain", "plain"),
            ("Thanks!\u{feff}", "Thanks!"),
            ("love it &lt;3 &amp; more", "love it <3 & more"),
            ("it&#39;s &quot;ok&quot;", "it's \"ok\""),
            ("one<br />two<br>three", "one\ntwo\nthree"),
            ("<i>so</i> <span class=\"x\">good</span>", "so good"),
            ("a < b > c <lol> <3", "a < b > c <lol> <3"),
            ("&lt;br /&gt; is a tag", "<br /> is a tag"),
            ("a\r\nb\rc", "a\nb\nc"),
            ("bell\u{7} and \u{1b}[31mred", "bell and [31mred"),
            (" \u{feff} ", ""),
            ("<br /> <br />", ""),
            ("tail <", "tail <"),
        ] {
            assert_eq!(text(raw), cleaned, "{raw:?}");
        }
    }

    #[test]
    fn links_keep_their_address() {
        for (raw, cleaned) in [
            (
                "<a href=\"http://y.example/watch?v=1&amp;t=2m19s\">2:19</a> best part",
                "2:19 (http://y.example/watch?v=1&t=2m19s) best part",
            ),
            ("<a href=\"http://a.example/x\">http://a.example/x</a>", "http://a.example/x"),
            (
                "<a href=\"http://a.example/long\">http://a.example/lo...</a>",
                "http://a.example/long",
            ),
            ("<a href=\"https://a.example/\">a.example</a>", "https://a.example/"),
            ("<a href='http://a.example'></a>", "http://a.example"),
            ("<a class=\"x\">no address</a>", "no address"),
            ("never closed <a href=\"x\">here", "never closed here"),
        ] {
            assert_eq!(text(raw), cleaned, "{raw:?}");
        }
    }

    #[test]
    fn names_are_one_line() {
        assert_eq!(name("  Tom &amp;\nJerry\u{feff} "), "Tom & Jerry");
    }
}
