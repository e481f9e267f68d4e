//! The tables of `docs/configuration.md`, made from what the programs themselves know. The
//! test below compares the two; with `AGORA_WRITE_DOCS=1` it writes those of the document anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use clap::CommandFactory as _;
use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde_json::Value;

use crate::{arguments::Arguments, up};

/// One TOML table and its settings, as one program or several know them.
#[derive(Default)]
struct Section {
    about: String,
    settings: Vec<Setting>,
}

struct Setting {
    key: String,
    meaning: String,
    default: String,
}

impl Section {
    /// Whether two programs mean the same by it; their defaults may differ.
    fn is_same(&self, other: &Self) -> bool {
        let what = |section: &Self| -> Vec<(String, String)> {
            let settings = section.settings.iter();
            settings.map(|setting| (setting.key.clone(), setting.meaning.clone())).collect()
        };
        self.about == other.about && what(self) == what(other)
    }
}

/// What a program has, by section.
fn sections<C: Default + JsonSchema + Serialize>() -> BTreeMap<String, Section> {
    let schema = schema_for!(C).to_value();
    let defaults = serde_json::to_value(C::default()).unwrap();
    let tables = schema["properties"].as_object().unwrap().iter();
    let section = |(name, table): (&String, &Value)| {
        let table = resolve(&schema, table);
        let mut section = Section { about: about(table), ..Section::default() };
        collect(&schema, table, &defaults[name], name, "", &mut section.settings);
        (name.clone(), section)
    };
    tables.map(section).collect()
}

/// Takes the settings of a table, and of the tables in it.
fn collect(
    schema: &Value,
    table: &Value,
    defaults: &Value,
    path: &str,
    about: &str,
    settings: &mut Vec<Setting>,
) {
    for (name, property) in table["properties"].as_object().unwrap() {
        let (key, resolved) = (format!("{path}.{name}"), resolve(schema, property));
        let meaning = format!("{about} {}", description(property)).trim().to_owned();
        if resolved.get("properties").is_some() {
            collect(schema, resolved, &defaults[name], &key, &meaning, settings);
            continue;
        }
        assert!(!meaning.is_empty(), "{key} has no doc comment");
        let is_secret = property["writeOnly"] == Value::Bool(true);
        let default = match &defaults[name] {
            Value::Null if is_secret => "none (a secret)".to_owned(),
            Value::Null => "none".to_owned(),
            value => format!("`{value}`"),
        };
        settings.push(Setting { key, meaning: format!("{meaning}{}", choices(resolved)), default });
    }
}

/// The schema that is meant where another one is named.
fn resolve<'s>(schema: &'s Value, property: &'s Value) -> &'s Value {
    match property["$ref"].as_str() {
        Some(path) => schema.pointer(path.trim_start_matches('#')).unwrap(),
        None => property,
    }
}

/// A doc comment, in one line.
fn description(schema: &Value) -> String {
    line(schema["description"].as_str().unwrap_or_default())
}

/// What a section is for: its doc comment, without its name, which stands above it.
fn about(table: &Value) -> String {
    let text = description(table);
    let (_, about) = text.split_once(": ").unwrap();
    let mut letters = about.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', r"\|")
}

/// What can be chosen, if that is one of a few words.
fn choices(schema: &Value) -> String {
    let Some(variants) = schema["oneOf"].as_array() else { return String::new() };
    let choice = |variant: &Value| {
        let word = variant["const"].as_str().unwrap();
        format!(" `{word}`: {}", description(variant))
    };
    variants.iter().map(choice).collect()
}

/// The variable that a setting is set by.
fn variable(key: &str) -> String {
    format!("AGORA_{}", key.replace('.', "__").to_uppercase())
}

/// Every setting of every program.
fn settings() -> String {
    let programs = [
        ("agora up", sections::<up::config::Config>()),
        ("post", sections::<agora_post::Config>()),
        ("comment", sections::<agora_comment::Config>()),
        ("moderation", sections::<agora_moderation::Config>()),
        ("query", sections::<agora_query::Config>()),
    ];
    let number = programs.len();
    // By name, those that mean the same together.
    let mut groups = BTreeMap::<String, Vec<Vec<(&str, Section)>>>::new();
    for (program, sections) in programs {
        for (name, section) in sections {
            let groups = groups.entry(name).or_default();
            match groups.iter_mut().find(|group| group[0].1.is_same(&section)) {
                Some(group) => group.push((program, section)),
                None => groups.push(vec![(program, section)]),
            }
        }
    }
    let mut text = String::new();
    for (name, groups) in &groups {
        for group in groups {
            let programs: Vec<&str> = group.iter().map(|(program, _)| *program).collect();
            let of = match programs.len() == number {
                true => "every program".to_owned(),
                false => programs.join(", "),
            };
            text += &format!("\n### `[{name}]` of {of}\n\n{}\n\n", group[0].1.about);
            text += "| key | variable | default | meaning |\n|---|---|---|---|\n";
            for (row, Setting { key, meaning, .. }) in group[0].1.settings.iter().enumerate() {
                let (variable, default) = (variable(key), default(group, row));
                text += &format!("| `{key}` | `{variable}` | {default} | {meaning} |\n");
            }
        }
    }
    text
}

/// A setting's default, or that of each program where they differ.
fn default(group: &[(&str, Section)], row: usize) -> String {
    let mut all = group.iter().map(|(program, section)| (program, &section.settings[row].default));
    let (_, first) = all.next().unwrap();
    if all.all(|(_, default)| default == first) {
        return first.clone();
    }
    let each = group.iter().map(|(program, section)| {
        let default = &section.settings[row].default;
        format!("{program} {default}")
    });
    each.collect::<Vec<_>>().join("<br>")
}

/// Every variable that options of `agora` are set by.
fn variables() -> String {
    let mut found = BTreeMap::new();
    of_command(&Arguments::command(), "", &mut found);
    let mut text = "\n| variable | option | of | meaning |\n|---|---|---|---|\n".to_owned();
    for ((variable, option, meaning), commands) in found {
        let commands = commands.into_iter().collect::<Vec<_>>().join(", ");
        text += &format!("| `{variable}` | `--{option}` | {commands} | {meaning} |\n");
    }
    text
}

/// By variable, option and meaning the commands that have it.
type Variables = BTreeMap<(String, String, String), BTreeSet<String>>;

fn of_command(command: &clap::Command, path: &str, found: &mut Variables) {
    for option in command.get_arguments() {
        let Some(variable) = option.get_env() else { continue };
        let variable = variable.to_str().unwrap().to_owned();
        let meaning = line(&option.get_help().unwrap().to_string());
        let name = option.get_long().unwrap().to_owned();
        let of = match path {
            "" => "every command".to_owned(),
            path => format!("`{}`", path.trim_start()),
        };
        found.entry((variable, name, meaning)).or_default().insert(of);
    }
    for command in command.get_subcommands() {
        of_command(command, &format!("{path} {}", command.get_name()), found);
    }
}

/// The document with what is between two marks replaced.
fn replaced(document: &str, name: &str, tables: &str) -> String {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let (head, rest) = document.split_once(&begin).unwrap();
    let (_, tail) = rest.split_once(&end).unwrap();
    format!("{head}{begin}{tables}\n{end}{tail}")
}

#[test]
fn the_document_holds_every_setting_and_variable() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let document = fs::read_to_string(&path).unwrap();
    let renewed = replaced(&document, "settings", &settings());
    let renewed = replaced(&renewed, "variables", &variables());
    if std::env::var_os("AGORA_WRITE_DOCS").is_some() {
        fs::write(&path, &renewed).unwrap();
        return;
    }
    // A difference is shown by its first line, not by two documents.
    let differs = document.lines().zip(renewed.lines()).find(|(is, should)| is != should);
    let hint = "AGORA_WRITE_DOCS=1 cargo test -p agora --lib configuration";
    assert_eq!(differs, None, "docs/configuration.md is out of date: {hint}");
    assert_eq!(document, renewed, "docs/configuration.md is out of date: {hint}");
}
