use std::path::Path;

use serde_json::Value;

use crate::up::Up;

/// A command as README shows it, and the lines of its output that stand below it.
struct Step<'t> {
    command: &'t str,
    shown: Vec<&'t str>,
}

/// What README has people type first.
fn steps(readme: &str) -> Vec<Step<'_>> {
    let (_, rest) = readme.split_once("## Try it in 5 minutes").unwrap();
    let (part, _) = rest.split_once("## How it works").unwrap();
    let mut steps: Vec<Step> = Vec::new();
    for block in part.split("```console\n").skip(1) {
        let (block, _) = block.split_once("```").unwrap();
        for line in block.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => {
                    let command = command.split(" # ").next().unwrap_or_default().trim_end();
                    steps.push(Step { command, shown: Vec::new() });
                }
                // The rest is left out there.
                None if line.trim() == "…" => {}
                None => steps.last_mut().unwrap().shown.push(line),
            }
        }
    }
    steps
}

/// As it is written there, on a data folder of the test's own.
#[test]
fn what_readme_shows_is_what_one_sees() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let steps = steps(&readme);
    assert_eq!(steps[0].command, "./dev up");
    assert_eq!(steps[0].shown[0], format!("agora {} is up", env!("CARGO_PKG_VERSION")));

    let up = Up::start();
    let mut tried = 0;
    for Step { command, shown } in &steps {
        let Some(command) = command.strip_prefix("agora ") else { continue };
        let held = || {
            let queue = up.agora(&["queue", "--site", "demo", "--json"]);
            let case: Value = serde_json::from_str(queue.lines().next().unwrap()).unwrap();
            case["commentId"].as_str().unwrap().to_owned()
        };
        let arguments: Vec<String> = command
            .split_whitespace()
            .map(|word| if word == "COMMENT_ID" { held() } else { word.to_owned() })
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let printed = up.agora(&arguments);
        for line in shown {
            assert!(printed.contains(line), "{command}: {line} is not in\n{printed}");
        }
        tried += 1;
    }
    assert!(tried >= 5, "{tried} commands were found in README");
}
