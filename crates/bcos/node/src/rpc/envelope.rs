//! Requests and answers of JSON-RPC 2.0: what both surfaces share before a method is looked at.

use std::future::Future;

use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::Value;

use super::error::{INVALID_REQUEST, PARSE_ERROR, RpcError};
use super::json::{Show, append};

/// How many requests of one batch run at the same time.
const BATCH_WIDTH: usize = 16;

/// One request, its form checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    /// What the answer repeats: a number, a text or null.
    pub(crate) id: Value,
    /// The method's name.
    pub(crate) method: String,
    /// Its positional parameters.
    pub(crate) params: Vec<Value>,
}

/// In whose words a malformed request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// The `FISCO BCOS` surface: one text for everything, and `params` must be there.
    Bcos,
    /// The Ethereum surface: the field is named, and `params` may be left out.
    Ethereum,
}

impl Manner {
    fn unreadable(self) -> RpcError {
        match self {
            Self::Bcos => RpcError::new(PARSE_ERROR, "Invalid JSON was received by the server."),
            Self::Ethereum => RpcError::new(PARSE_ERROR, "Parse json failed"),
        }
    }

    fn malformed(self, named: &str) -> RpcError {
        match self {
            Self::Bcos => RpcError::new(INVALID_REQUEST, "The JSON sent is not a valid Request object."),
            Self::Ethereum => RpcError::new(INVALID_REQUEST, named),
        }
    }
}

/// What a body holds.
#[derive(Debug)]
pub(crate) enum Body {
    /// One request.
    One(Value),
    /// Several, answered together.
    Batch(Vec<Value>),
}

/// Reads a body; a batch over `most` requests is refused whole.
pub(crate) fn read(body: &[u8], manner: Manner, most: usize) -> Result<Body, RpcError> {
    match serde_json::from_slice(body) {
        Ok(Value::Array(items)) if items.is_empty() => {
            Err(RpcError::new(INVALID_REQUEST, "The request array is empty"))
        }
        Ok(Value::Array(items)) if items.len() > most => {
            Err(RpcError::new(INVALID_REQUEST, format!("The requested array size exceeds the limit size: {most}")))
        }
        Ok(Value::Array(items)) => Ok(Body::Batch(items)),
        Ok(value) => Ok(Body::One(value)),
        Err(_) => Err(manner.unreadable()),
    }
}

/// Reads a body as what nearly every one is, a single request with all its members, without a tree of values around it.
/// Of anything else, [`read`] and [`check`] know what to say.
pub(crate) fn plain(body: &[u8]) -> Option<Request> {
    #[derive(Deserialize)]
    struct Plain {
        #[serde(rename = "jsonrpc", deserialize_with = "text")]
        _jsonrpc: (),
        id: Value,
        method: String,
        params: Vec<Value>,
    }
    fn text<'a, D: serde::Deserializer<'a>>(from: D) -> Result<(), D::Error> {
        std::borrow::Cow::<str>::deserialize(from).map(drop)
    }
    // A list would do for the members in their order; here it is a batch.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let Plain { id, method, params, .. } = serde_json::from_slice(body).ok()?;
    matches!(id, Value::Number(_) | Value::String(_)).then_some(Request { id, method, params })
}

/// Checks one request's form; an error comes with the id to repeat.
pub(crate) fn check(value: Value, manner: Manner) -> Result<Request, (Value, RpcError)> {
    let Value::Object(mut fields) = value else {
        return Err((Value::Null, manner.malformed("a request must be a JSON object")));
    };
    let id = fields.remove("id");
    let repeated = match &id {
        Some(id @ (Value::Number(_) | Value::String(_))) => id.clone(),
        _ => Value::Null,
    };
    let refuse = |named: &str| Err((repeated.clone(), manner.malformed(named)));
    match (&id, manner) {
        (Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)), _) => return refuse("Invalid field: id"),
        (None, Manner::Ethereum) => {
            return refuse("Request not valid, required fields: jsonrpc, method, params, id");
        }
        _ => {}
    }
    match fields.remove("jsonrpc") {
        Some(Value::String(_)) => {}
        Some(_) => return refuse("Invalid field: jsonrpc"),
        None => return refuse("Request not valid, required fields: jsonrpc, method, params, id"),
    }
    let method = match fields.remove("method") {
        Some(Value::String(method)) => method,
        Some(_) => return refuse("Invalid field: method"),
        None => return refuse("Request not valid, required fields: jsonrpc, method, params, id"),
    };
    let params = match (fields.remove("params"), manner) {
        (Some(Value::Array(params)), _) => params,
        (None | Some(Value::Null), Manner::Ethereum) => Vec::new(),
        _ => return refuse("Invalid field: params"),
    };
    Ok(Request { id: repeated, method, params })
}

/// Writes one answer behind what is already there.
pub(crate) fn write<T: Show>(out: &mut Vec<u8>, id: &Value, answer: &Result<T, RpcError>) {
    out.extend_from_slice(b"{\"id\":");
    append(out, id);
    match answer {
        Ok(result) => {
            out.extend_from_slice(b",\"jsonrpc\":\"2.0\",\"result\":");
            result.show(out);
        }
        Err(error) => {
            out.extend_from_slice(b",\"jsonrpc\":\"2.0\",\"error\":");
            append(out, &error.to_json());
        }
    }
    out.push(b'}');
}

/// Answers a body: every request in it through `serve`, in the order of the batch.
pub(crate) async fn answer<F, A, T>(body: &[u8], manner: Manner, most: usize, serve: F) -> Vec<u8>
where
    F: Fn(Request) -> A,
    A: Future<Output = Result<T, RpcError>>,
    T: Show,
{
    let mut out = Vec::with_capacity(1024);
    let request = match plain(body) {
        Some(request) => Ok(request),
        None => match read(body, manner, most) {
            Ok(Body::One(request)) => check(request, manner),
            // Boxed, so that a single request does not carry the room for sixteen.
            Ok(Body::Batch(requests)) => {
                Box::pin(batch(&mut out, requests, manner, &serve)).await;
                return out;
            }
            Err(error) => Err((Value::Null, error)),
        },
    };
    let (id, result) = answered(request, &serve).await;
    write(&mut out, &id, &result);
    out
}

async fn batch<F, A, T>(out: &mut Vec<u8>, requests: Vec<Value>, manner: Manner, serve: &F)
where
    F: Fn(Request) -> A,
    A: Future<Output = Result<T, RpcError>>,
    T: Show,
{
    let requests = futures::stream::iter(requests).map(|request| answered(check(request, manner), serve));
    let mut answers = requests.buffered(BATCH_WIDTH);
    out.push(b'[');
    while let Some((id, result)) = answers.next().await {
        if out.len() > 1 {
            out.push(b',');
        }
        write(out, &id, &result);
    }
    out.push(b']');
}

async fn answered<F, A, T>(request: Result<Request, (Value, RpcError)>, serve: &F) -> (Value, Result<T, RpcError>)
where
    F: Fn(Request) -> A,
    A: Future<Output = Result<T, RpcError>>,
{
    match request {
        Ok(request) => {
            let id = request.id.clone();
            (id, serve(request).await)
        }
        Err((id, error)) => (id, Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn served(body: &str, manner: Manner) -> Value {
        let echo = |request: Request| async move {
            if request.method == "fail" {
                Err(RpcError::new(7, "no").with_data(json!("0x")))
            } else {
                Ok(json!([request.method, request.params.len()]))
            }
        };
        let answer = futures::executor::block_on(answer(body.as_bytes(), manner, 3, echo));
        serde_json::from_slice(&answer).unwrap()
    }

    #[test]
    fn one_request_is_answered_under_its_id() {
        let body = r#"{"jsonrpc":"2.0","method":"m","params":[1],"id":7}"#;
        assert_eq!(served(body, Manner::Bcos), json!({"jsonrpc":"2.0","id":7,"result":["m",1]}));
        let body = r#"{"jsonrpc":"2.0","method":"fail","params":[],"id":"a-b"}"#;
        assert_eq!(
            served(body, Manner::Ethereum),
            json!({"jsonrpc":"2.0","id":"a-b","error":{"code":7,"message":"no","data":"0x"}})
        );
    }

    #[test]
    fn the_short_way_of_reading_a_request_is_the_long_one() {
        let bodies = [
            r#"{"jsonrpc":"2.0","method":"m","params":[1,"\u0041"],"id":7}"#,
            " \n{\"id\":\"x\",\"extra\":[{}],\"params\":[],\"method\":\"m\",\"jsonrpc\":\"\"}",
            r#" {"id":"x","extra":[{}],"params":[],"method":"a\nb","jsonrpc":"1\t0"} "#,
            r#"{"jsonrpc":"2.0","method":"m","params":[],"id":null}"#,
            r#"{"jsonrpc":"2.0","method":"m","params":[],"id":true}"#,
            r#"{"jsonrpc":2,"method":"m","params":[],"id":1}"#,
            r#"{"jsonrpc":"2.0","method":"m","method":"n","params":[],"id":1}"#,
            r#"{"jsonrpc":"2.0","method":"m","id":1}"#,
            r#"["2.0",1,"m",[]]"#,
            r#"{"jsonrpc":"2.0","method":"m","params":[],"id":1} 7"#,
        ];
        let mut short = 0;
        for body in bodies {
            if let Some(request) = plain(body.as_bytes()) {
                let Ok(Body::One(value)) = read(body.as_bytes(), Manner::Bcos, 1) else { panic!("{body}") };
                assert_eq!(check(value, Manner::Bcos).unwrap(), request, "{body}");
                short += 1;
            }
        }
        assert_eq!(short, 3);
    }

    #[test]
    fn a_batch_keeps_its_order_and_its_faults_apart() {
        let body = r#"[{"jsonrpc":"2.0","method":"a","params":[],"id":1},{"jsonrpc":"2.0","id":2},{"jsonrpc":"2.0","method":"b","id":3}]"#;
        let answer = served(body, Manner::Ethereum);
        assert_eq!(answer[0]["result"][0], "a");
        assert_eq!(answer[1]["error"]["code"], -32600);
        assert_eq!(answer[1]["id"], 2);
        assert_eq!(answer[2]["result"], json!(["b", 0]));
        let many = format!("[{}]", ["{}"; 4].join(","));
        assert_eq!(
            served(&many, Manner::Ethereum)["error"]["message"],
            "The requested array size exceeds the limit size: 3"
        );
        assert_eq!(served("[]", Manner::Bcos)["error"]["code"], -32600);
    }

    #[test]
    fn malformed_requests_are_refused_in_upstreams_words() {
        assert_eq!(served("{{", Manner::Bcos)["error"]["code"], -32700);
        for body in [
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{}}"#,
            r#"{"id":1,"method":"m","params":[]}"#,
        ] {
            let error = &served(body, Manner::Bcos)["error"];
            assert_eq!(error["code"], -32600, "{body}");
            assert_eq!(error["message"], "The JSON sent is not a valid Request object.");
        }
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":{}}"#;
        let answer = served(body, Manner::Ethereum);
        assert_eq!(answer["error"], json!({"code":-32600,"message":"Invalid field: params"}));
        assert_eq!(answer["id"], 1);
        assert_eq!(served("7", Manner::Ethereum)["error"]["code"], -32600);
    }
}
