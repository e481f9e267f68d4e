//! `agora feed`: a site's posts with their comment counts and last activity.

use agora_proto::query::v1::{FeedOrder, ListFeedRequest};
use clap::{Args, ValueEnum};

use crate::{
    arguments::{Options, Page, Role},
    client::{Client, call},
    error::Error,
    json, output, render,
};

const EXAMPLES: &str = "\
Examples:
  agora feed
  agora feed --order newest --page-size 10
  agora feed --all --json | jq .commentCount";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Which post comes first
    #[arg(long, value_enum, default_value_t = Order::Activity)]
    order: Order,
    #[command(flatten)]
    page: Page,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    /// The one with the last activity
    Activity,
    /// The newest
    Newest,
}

pub async fn run(options: &Options, arguments: Arguments) -> Result<(), Error> {
    let client = Client::connect(options, Role::Author).await?;
    let Arguments { order, page } = arguments;
    let (order, flag) = match order {
        Order::Activity => (FeedOrder::LastActivity, ""),
        Order::Newest => (FeedOrder::Newest, " --order newest"),
    };
    let mut request = ListFeedRequest {
        site: client.site(),
        order: order.into(),
        page_size: page.page_size.unwrap_or_default(),
        page_token: page.page_token.unwrap_or_default(),
        position: page.position.text(),
    };
    let mut shown = false;
    loop {
        let answer = call(&request, |request| {
            let mut query = client.query();
            async move { query.list_feed(request).await }
        })
        .await?;
        for post in &answer.posts {
            shown = true;
            output::print(match options.json {
                true => json::line(post, &answer.position),
                false => render::feed::entry(post),
            })?;
        }
        if answer.next_page_token.is_empty() {
            break;
        }
        if !page.all {
            super::more(&format!("agora feed{flag}"), &answer.next_page_token);
            break;
        }
        request.page_token = answer.next_page_token;
    }
    if !shown && !options.json {
        output::remark(format!("no posts on site {}", render::text::line(&client.site())));
    }
    Ok(())
}
