//! Swaps over HTTP, by those who have a token.

use serde_json::Value;

use super::versions::{Wrong, pipeline, until_all_have, version};
use crate::live::topic::Topic;
use crate::support::HOST;

const TOKEN: &str = "a token of an operator";

struct Client {
    address: String,
    token: &'static str,
}

impl Client {
    /// Asks, with a body if there is one, and gives the code and the JSON of the answer.
    fn ask(&self, path: &str, body: Option<&str>) -> (u16, Value) {
        let url = format!("http://{}{path}", self.address);
        let client = reqwest::Client::new();
        let request = match body {
            Some(body) => client
                .post(url)
                .header("content-type", "application/json")
                .body(body.to_owned()),
            None => client.get(url),
        };
        let request = request.bearer_auth(self.token);
        HOST.io.block_on(async {
            let answer = request.send().await.expect("it answers");
            let code = answer.status().as_u16();
            let text = answer.text().await.expect("the answer is a text");
            let json = serde_json::from_str(&text);
            (code, json.unwrap_or_else(|error| panic!("{error}: {text}")))
        })
    }

    fn refuses(&self, path: &str, body: Option<&str>, code: u16, says: &str) {
        let (found, answer) = self.ask(path, body);
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(found, code, "{answer}");
        assert!(message.contains(says), "{answer}");
    }
}

#[test]
fn an_operator_with_a_token_swaps_and_takes_back() {
    let mut topic = Topic::new("over-http", 1, 12);
    let pipeline = pipeline(&topic, "over-http", 0, "commit_every = \"5ms\"");
    let text = pipeline.folder.text("penstock.toml");
    let operators = "[environments.local.operators.release]\ntoken = \"${OPERATOR}\"\n";
    let text = text.replacen(
        "output = \"out\"",
        "output = \"out\"\nlisten = \"127.0.0.1:0\"\nregistry = \"registry\"",
        1,
    );
    pipeline.folder.write("penstock.toml", text + operators);
    pipeline
        .folder
        .write("next.wasm", version(5, Wrong::Nothing));
    topic.write(200);
    let mut process = pipeline.start_with("one", |command| {
        command.env("OPERATOR", TOKEN);
    });
    pipeline.catch_up(&topic, &mut [&mut process]);
    let address = process.address();
    let client = |token| Client {
        address: address.clone(),
        token,
    };
    let (operator, nobody) = (client(TOKEN), client("some other token"));
    let (status, swap) = ("/v1/pipelines/totals/status", "/v1/pipelines/totals/swap");
    let next = Some("{\"component\": \"next@1\"}");
    nobody.refuses(status, None, 401, "Bearer TOKEN");
    nobody.refuses(swap, next, 401, "Bearer TOKEN");
    let other = "/v1/pipelines/other/status";
    operator.refuses(other, None, 404, "runs no pipeline");
    operator.refuses(swap, next, 409, "it is empty");
    operator.refuses(
        swap,
        Some("{\"component\": \"next.wasm\"}"),
        422,
        "next.wasm",
    );
    operator.refuses(swap, Some("{}"), 422, "component");
    let (code, description) = nobody.ask("/openapi-admin.json", None);
    assert_eq!((code, &description["info"]["version"]), (200, &"1".into()));

    let push = ["push", "next.wasm", "next@1"];
    pipeline.folder.penstock(&push).fine();
    let tried = |lasts: &str, condition: &str| {
        format!(
            "{{\"component\": \"next@1\", \"shadow\": {{\"for\": \"{lasts}\", \"promote_if\": \"{condition}\"}}}}"
        )
    };
    let wrong = tried("1h", "different > 1%");
    operator.refuses(swap, Some(&wrong), 422, "is no condition");
    operator.refuses(swap, Some(&tried("0s", "different < 1%")), 422, "no time");
    let (code, shadow) = operator.ask(swap, Some(&tried("1h", "different<1%")));
    let said = (code, &shadow["shadow"], &shadow["promote_if"]);
    assert_eq!(said, (200, &1.into(), &"different < 1%".into()), "{shadow}");
    let (_, told) = operator.ask(status, None);
    assert_eq!(told["shadow"]["fate"], "watched", "{told}");
    let drop_shadow = "/v1/pipelines/totals/shadow/drop";
    let why = Some("{\"reason\": \"it was a trial\"}");
    nobody.refuses(drop_shadow, why, 401, "Bearer TOKEN");
    let (code, dropped) = operator.ask(drop_shadow, why);
    let fate = &dropped["shadows"][0];
    assert_eq!(
        (code, &fate["fate"], &fate["reason"]),
        (200, &"dropped".into(), &"it was a trial".into())
    );

    let (code, asked) = operator.ask(swap, next);
    assert_eq!((code, &asked["generation"]), (200, &2.into()), "{asked}");
    until_all_have(&pipeline, 2);
    let (_, told) = operator.ask(status, None);
    assert_eq!(told["lanes"][0]["generation"], 2, "{told}");
    let reason = Some("{\"reason\": \"it adds five\"}");
    let (code, back) = operator.ask("/v1/pipelines/totals/rollback", reason);
    assert_eq!((code, &back["generation"]), (200, &1.into()), "{back}");
    until_all_have(&pipeline, 1);
    let (_, history) = operator.ask("/v1/pipelines/totals/history", None);
    assert_eq!(history[1]["reason"], "it adds five", "{history}");
    process.stop();
}
