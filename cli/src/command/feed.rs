//! `agora feed`: a site's posts with their comment counts and last activity.

use agora_proto::query::v1::{FeedOrder, ListFeedRequest};
use clap::{Args, ValueEnum};

use crate::{
    client::{Client, rpc},
    error::Error,
    options::{Options, Page, Role},
    output, render,
};

use super::list::{self, Listed};

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
    let (order, command) = match order {
        Order::Activity => (FeedOrder::LastActivity, "feed"),
        Order::Newest => (FeedOrder::Newest, "feed --order newest"),
    };
    let fetch = async |page_token| {
        let request = ListFeedRequest {
            site: client.site(),
            order: order.into(),
            page_size: page.page_size.unwrap_or_default(),
            page_token,
            position: page.position.text(),
        };
        let answer = rpc!(client.query().list_feed(request))?;
        Ok(Listed {
            items: answer.posts,
            next_page_token: answer.next_page_token,
            position: answer.position,
        })
    };
    let shown = list::print(options, &page, command, fetch, render::feed::entry).await?;
    if !shown && !options.json {
        output::remark(format!("no posts on site {}", render::text::line(&client.site())));
    }
    Ok(())
}
