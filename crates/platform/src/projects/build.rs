//! Builds: Solidity at once, Fabric chaincode as an operation with its log.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use konsort_engines::act::{Deployment, StepPlan};
use konsort_workbench::builder::BuildRequest;
use konsort_workbench::compiler::{Compilation, CompileRequest, CompilerError};
use konsort_workbench::project::Files;
use konsort_workbench::{Diagnostic, Severity};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::artifacts::{
    hash_of, kept_result, kept_sources, missing_package, package_path, result_path, sources_path, write_file,
};
use super::{ProjectDoc, engine_of, with_project};
use crate::access::Caller;
use crate::app::{App, Routes};
use crate::contracts::record::ContractDoc;
use crate::control::Control;
use crate::db::{DbError, Kind, Repository};
use crate::http::{Json, Path};
use crate::ids;
use crate::operations::handlers::{OperationView, accepted};
use crate::operations::{Operation, Work};
use crate::problem::{Problem, kinds};
use crate::time;

/// What to build.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BuildBody {
    /// Version of the project; default: the files as they are now.
    #[serde(default)]
    version: Option<u32>,
    /// Solidity: version of the compiler; default: the newest that the sources allow.
    #[serde(default)]
    compiler: Option<String>,
    /// Solidity: runs of the optimizer; default 200.
    #[serde(default)]
    runs: Option<u32>,
}

/// Compiles Solidity, answered at once; packages chaincode by an operation whose result has the package's id.
#[utoipa::path(post, path = "/v1/projects/{id}/build", tag = "projects", operation_id = "build_project",
    params(("id" = String, Path, description = "Project")), request_body = BuildBody,
    responses((status = 200, description = "Solidity", body = Compilation),
        (status = 202, description = "Fabric", body = OperationView)))]
async fn build(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<BuildBody>,
) -> Result<Response, Problem> {
    let record = app.records.get::<ProjectDoc>(Kind::Project, &id).await?;
    if engine_of(record.doc.language) == konsort_engines::spec::EngineKind::Bcos {
        let number = body.version;
        let files = with_project(&app.control, &id, move |project| project.files(number)).await?;
        let request = CompileRequest { version: body.compiler, runs: body.runs, ..CompileRequest::default() };
        return Ok(Json(compile(&app.control, files, Some(request)).await?).into_response());
    }
    if let Some(number) = body.version {
        // One that is not there is refused now.
        with_project(&app.control, &id, move |project| project.version(number)).await?;
    }
    let work = Work::Build { project: id, version: body.version };
    let now = time::rfc3339(time::now());
    let mut operation = Operation::new(ids::new("op"), None, record.name.clone(), work, caller.id.clone(), &now);
    operation.plan(steps());
    let mut telling = app.control.outbox.begin().await?;
    Control::enqueue(&mut telling, &operation, caller.organisation.as_deref()).await?;
    telling.commit().await?;
    app.control.runner.wake();
    Ok(accepted(&operation).into_response())
}

/// Compiles Solidity sources.
pub(crate) async fn compile(
    control: &Control,
    files: Files,
    request: Option<CompileRequest>,
) -> Result<Compilation, Problem> {
    let compilers = control.workshop()?.compilers.clone();
    let sources = files
        .into_iter()
        .filter(|(path, _)| path.ends_with(".sol"))
        .filter_map(|(path, content)| Some((path, String::from_utf8(content).ok()?)))
        .collect();
    let request = CompileRequest { sources, ..request.unwrap_or_default() };
    compilers.compile(request).await.map_err(compiler_problem)
}

/// What is wrong with a compiler, as opposed to sources.
pub(crate) fn compiler_problem(error: CompilerError) -> Problem {
    let text = error.to_string();
    let unsupported = |chinese: String| Problem::new(&kinds::UNSUPPORTED).details(text.clone(), chinese);
    match error {
        CompilerError::Unknown { version, known } => {
            unsupported(format!("没有可安装的编译器 {version}；可用版本为 {known}，其他版本可以上传"))
        }
        CompilerError::NotInstalled(version) => {
            unsupported(format!("编译器 {version} 尚未安装；请在设置中安装，或上传其 soljson 文件"))
        }
        CompilerError::MissingProgram { program, .. } => {
            unsupported(format!("服务器的 PATH 中没有 {program}；请先安装"))
        }
        CompilerError::Download { version, why } => {
            unsupported(format!("无法下载编译器 {version}：{why}；请检查软件源与网络，或上传文件"))
        }
        CompilerError::Integrity { version, found, expected } => Problem::invalid_in(
            "body",
            &text,
            &format!("编译器 {version} 文件的哈希为 {found}，应为 {expected}；该文件不会被使用"),
        ),
        CompilerError::NotACompiler(why) => Problem::invalid_in(
            "body",
            &text,
            &format!("该文件不是 Solidity 编译器：{why}；请上传发行版中未经修改的 soljson 文件"),
        ),
        CompilerError::Process(why) => {
            Problem::new(&kinds::INTERNAL).details(text.clone(), format!("编译器进程失败：{why}"))
        }
        CompilerError::Io { what, source } => konsort_engines::EngineError::Io { what, source }.into(),
    }
}

/// The first faults, for a text.
pub(crate) fn diagnostics_text(diagnostics: &[Diagnostic]) -> String {
    diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .take(3)
        .map(|diagnostic| format!("{}:{}: {}", diagnostic.file, diagnostic.line, diagnostic.message))
        .collect::<Vec<_>>()
        .join("; ")
}

/// The steps of a build.
pub(crate) fn steps() -> Vec<StepPlan> {
    vec![package_step()]
}

/// The step that makes a chaincode package.
pub(crate) fn package_step() -> StepPlan {
    StepPlan {
        name: "build".to_owned(),
        title: "Build the chaincode package".to_owned(),
        title_zh: "构建链码包".to_owned(),
    }
}

/// Runs the step of a build.
pub(crate) async fn run(
    control: &Control,
    project: &str,
    number: Option<u32>,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<Map<String, Value>, Problem> {
    let files = with_project(control, project, move |project| project.files(number)).await?;
    let hash = hash_of(&files);
    let label = format!("{}_{}", "package", number.map_or_else(|| "draft".to_owned(), |number| number.to_string()));
    let path = package_path(control, project, &hash, &label);
    package(control, project, files, &label, path, progress).await
}

/// Builds the package that a deployment needs, from the sources that were kept when it was asked for.
pub(crate) async fn package_for(
    control: &Control,
    deployment: &Deployment,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<Map<String, Value>, Problem> {
    let Some((path, label)) = missing_package(deployment) else { return Ok(Map::new()) };
    let mut result = if let Some(result) = kept_result(path).await {
        // Made by a run that was cut off before it could say so.
        result
    } else {
        let record = control.repository.get::<ContractDoc>(Kind::Contract, &deployment.contract).await?;
        let origin = record.doc.next.and_then(|(_, made)| made.origin);
        let project = origin.ok_or_else(|| Problem::not_found("package", label))?.project;
        let files = kept_sources(path).await?;
        package(control, &project, files, label, path.clone(), progress).await?
    };
    if let Some(interface) = result.remove("interface").filter(|interface| !interface.is_null()) {
        let mut transaction = control.db().begin().await?;
        let record = Repository::get_in::<ContractDoc>(&mut transaction, Kind::Contract, &deployment.contract).await?;
        let mut doc = record.doc;
        if let Some((_, made)) = &mut doc.next {
            made.interface = Some(interface);
        }
        let version = Some(record.version);
        Repository::update_in(&mut transaction, Kind::Contract, &record.id, version, &record.name, &doc).await?;
        transaction.commit().await.map_err(DbError::from)?;
    }
    let _ = tokio::fs::remove_file(sources_path(path)).await;
    Ok(result)
}

async fn package(
    control: &Control,
    project: &str,
    files: Files,
    label: &str,
    path: std::path::PathBuf,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<Map<String, Value>, Problem> {
    let language = control.repository.get::<ProjectDoc>(Kind::Project, project).await?.doc.language;
    let builder = control.workshop()?.builder.clone();
    let request = BuildRequest { language, files, label: label.to_owned(), project: project.to_owned() };
    let built = builder
        .build(request, progress)
        .await
        .map_err(|error| Problem::new(&kinds::UNSUPPORTED).detail(error.to_string()))?;
    let Some(package) = built.package.filter(|_| built.ok) else {
        for diagnostic in &built.diagnostics {
            progress(format!("{}:{}: {}", diagnostic.file, diagnostic.line, diagnostic.message));
        }
        return Err(Problem::invalid("sources", diagnostics_text(&built.diagnostics))
            .with("diagnostics", serde_json::to_value(&built.diagnostics).unwrap_or_default()));
    };
    let result = json!({
        "package_id": package.id, "label": package.label, "kind": package.kind, "size": package.bytes.len(),
        "diagnostics": built.diagnostics, "interface": built.interface,
    });
    // First what it tells of itself: the package says that all is there.
    write_file(result_path(&path), result.to_string().into_bytes()).await?;
    write_file(path, package.bytes).await?;
    Ok(match result {
        Value::Object(result) => result,
        _ => Map::new(),
    })
}

/// The route.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(build))
}
