use serde_json::Value;

use crate::up::Up;

fn values(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_demo_has_posts_a_deep_thread_and_a_queue_and_is_made_once() {
    let up = Up::start();
    let printed = up.agora(&["demo"]);
    assert!(
        printed.contains("3 posts: 200 comments imported, 0 already there, 0 skipped"),
        "{printed}"
    );
    let site = ["--site", "demo", "--json"];
    let run = |command: &[&str]| values(&up.agora(&[command, &site].concat()));

    let posts = run(&["feed"]);
    assert_eq!(posts.len(), 3);
    // Numbers of 64 bits are texts in JSON.
    let comments = |post: &Value| post["commentCount"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(posts.iter().all(|post| comments(post) > 10), "{posts:?}");

    // What it proposes works: as anybody, and everything that is shown was approved.
    let thread = run(&["thread", "show", "demo:gangnam-style", "--all"]);
    let depth = |comment: &Value| comment["depth"].as_u64().unwrap_or_default();
    let deepest = thread.iter().map(depth).max();
    assert!(deepest >= Some(4), "replies are {deepest:?} deep");

    let queue = run(&["queue", "--all"]);
    assert!((20..180).contains(&queue.len()), "{} wait", queue.len());
    let held = queue[0]["commentId"].as_str().unwrap().to_owned();
    let shown = || {
        up.agora(&[
            "thread",
            "show",
            queue[0]["postId"].as_str().unwrap(),
            "--all",
            "--site",
            "demo",
            "--json",
        ])
    };
    assert!(!shown().contains(&held));
    run(&["decide", "approve", &held]);

    let again = values(&up.agora(&["demo", "--json"])).remove(0);
    assert_eq!(again["imported"], 0);
    assert_eq!(again["openCases"].as_u64().unwrap() as usize, queue.len() - 1);
    let there: u64 = again["posts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|post| post["alreadyThere"].as_u64().unwrap())
        .sum();
    assert_eq!(there, 200);
    assert!(up.agora(&["demo"]).contains("nothing is new"));
    assert_eq!(run(&["feed"]).len(), 3);
    assert_eq!(run(&["policy", "show"])[0]["version"], 1);
}
