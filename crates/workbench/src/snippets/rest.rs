//! Calls through the server's REST API.

use serde_json::{Value, json};

use super::literal::{arguments, shell, text};
use super::{Snippet, SnippetRequest, snippet};
use crate::interface::openapi::encoded;

pub(super) fn all(request: &SnippetRequest<'_>) -> Vec<Snippet> {
    let method = request.method;
    let overloaded = request.contract.methods.iter().filter(|other| other.name == method.name).count() > 1;
    let segment = encoded(if overloaded { &method.signature } else { &method.name });
    let server = request.server.trim_end_matches('/');
    let url = format!("{server}/v1/contracts/{}/methods/{segment}", encoded(request.contract_id));
    let body = json!({ "arguments": arguments(method, request.arguments) });
    vec![curl(&url, &body), typescript(&url, &body), python(&url, &body), go(&url, &body), java(&url, &body)]
}

fn made(language: &str, install: &str, code: String) -> Snippet {
    snippet(language, "rest", install, code)
}

fn curl(url: &str, body: &Value) -> Snippet {
    let (url, body) = (shell(url), shell(&body.to_string()));
    made(
        "curl",
        "",
        format!(
            "curl --fail-with-body -X POST {url} \\\n  -H \"Authorization: Bearer $KONSORT_API_KEY\" \\\n  -H 'Content-Type: application/json' \\\n  -d {body}\n"
        ),
    )
}

fn typescript(url: &str, body: &Value) -> Snippet {
    let body = serde_json::to_string_pretty(body).unwrap_or_default();
    made(
        "typescript",
        "",
        format!(
            r#"const answer = await fetch({url}, {{
  method: "POST",
  headers: {{
    Authorization: `Bearer ${{process.env.KONSORT_API_KEY}}`,
    "Content-Type": "application/json",
  }},
  body: JSON.stringify({body}),
}});
const result = await answer.json();
if (!answer.ok) throw new Error(`${{result.title}}: ${{result.detail}}`);
console.log(result.output);
"#,
            url = text(url),
        ),
    )
}

fn python(url: &str, body: &Value) -> Snippet {
    made(
        "python",
        "pip install requests",
        format!(
            r#"import json
import os

import requests

answer = requests.post(
    {url},
    headers={{"Authorization": f"Bearer {{os.environ['KONSORT_API_KEY']}}"}},
    json=json.loads({body}),
    timeout=60,
)
answer.raise_for_status()
print(answer.json()["output"])
"#,
            url = text(url),
            body = text(&body.to_string()),
        ),
    )
}

fn go(url: &str, body: &Value) -> Snippet {
    made(
        "go",
        "",
        format!(
            r#"package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
)

func main() {{
	body := {body}
	request, err := http.NewRequest("POST", {url}, strings.NewReader(body))
	if err != nil {{
		log.Fatal(err)
	}}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("KONSORT_API_KEY"))
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {{
		log.Fatal(err)
	}}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {{
		log.Fatalf("%s: %s %v", answer.Status, text, err)
	}}
	fmt.Println(string(text))
}}
"#,
            url = text(url),
            body = text(&body.to_string()),
        ),
    )
}

fn java(url: &str, body: &Value) -> Snippet {
    made(
        "java",
        "",
        format!(
            r#"import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

public class Call {{
    public static void main(String[] args) throws Exception {{
        String body = {body};
        HttpRequest request = HttpRequest.newBuilder(URI.create({url}))
                .header("Authorization", "Bearer " + System.getenv("KONSORT_API_KEY"))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build();
        HttpResponse<String> answer =
                HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) {{
            throw new IllegalStateException(answer.statusCode() + ": " + answer.body());
        }}
        System.out.println(answer.body());
    }}
}}
"#,
            url = text(url),
            body = text(&body.to_string()),
        ),
    )
}
