//! Exports as providers write them, and what is said of those that cannot be read.

use super::*;
use proptest::prelude::*;

fn day(text: &str) -> i32 {
    day_of_text(text).expect("a day")
}

fn counted(statement: &Statement, date: &str, model: &str, key: &str) -> Counted {
    let place = Place { day: day(date), model: model.to_owned(), key: key.to_owned() };
    *statement.counted.get(&place).unwrap_or_else(|| panic!("{place:?} in {:?}", statement.counted))
}

fn nanos(amount: i64) -> NanoUsd {
    NanoUsd::from_nanos(amount)
}

fn error(format: ExportFormat, text: &str) -> String {
    read(format, text).expect_err("refused").to_string()
}

#[test]
fn openai_usage_as_pages_and_as_a_table() {
    let page = r#"{"object":"page","data":[{"object":"bucket","start_time":1730419200,"end_time":1730505600,"results":[
        {"object":"organization.usage.completions.result","input_tokens":1000,"output_tokens":500,"input_cached_tokens":800,
         "num_model_requests":5,"project_id":"proj_a","user_id":null,"api_key_id":null,"model":"gpt-4o-2024-08-06","batch":null},
        {"object":"organization.usage.completions.result","input_tokens":1,"output_tokens":2,"num_model_requests":3,
         "project_id":"proj_a","api_key_id":"key_1","model":"gpt-4o-2024-08-06"}]},
        {"object":"bucket","start_time":1730505600,"end_time":1730592000,"results":[]}],"has_more":false,"next_page":null}"#;
    let first = read(ExportFormat::OpenaiUsage, page).expect("a statement");
    let wanted = Counted { requests: Some(5), input: Some(1_000), output: Some(500), cost: None };
    assert_eq!(counted(&first, "2024-11-01", "gpt-4o-2024-08-06", "proj_a"), wanted);
    assert_eq!(counted(&first, "2024-11-01", "gpt-4o-2024-08-06", "key_1").requests, Some(3));
    let twice =
        read(ExportFormat::OpenaiUsage, &format!("{}\n{page}", page.replace("false", "true"))).expect("two pages");
    assert_eq!((twice.rows, counted(&twice, "2024-11-01", "gpt-4o-2024-08-06", "proj_a").input), (4, Some(2_000)));
    let table = "start_time,end_time,start_time_iso,end_time_iso,input_tokens,output_tokens,num_model_requests,project_id,model\n\
                 1730419200,1730419260,2024-11-01T00:00:00+00:00,2024-11-01T00:01:00+00:00,1000,500,5,proj_a,gpt-4o-2024-08-06\n\
                 1730419260,1730419320,2024-11-01T00:01:00+00:00,2024-11-01T00:02:00+00:00,,,,,\n";
    let table = read(ExportFormat::OpenaiUsage, table).expect("a statement");
    assert_eq!((table.rows, table.skipped), (1, 1));
    assert_eq!(counted(&table, "2024-11-01", "gpt-4o-2024-08-06", "proj_a"), wanted);
}

#[test]
fn openai_costs_are_added_exactly_and_line_items_of_a_model_are_one() {
    let page = r#"[{"data":[{"start_time":1730419200,"results":[
        {"amount":{"value":0.1,"currency":"usd"},"line_item":"gpt-4o-2024-08-06, input","project_id":null},
        {"amount":{"value":0.2,"currency":"usd"},"line_item":"gpt-4o-2024-08-06, output","project_id":null},
        {"amount":{"value":"0.0000000005","currency":"usd"},"line_item":"web search tool calls","project_id":null}]}]}]"#;
    let statement = read(ExportFormat::OpenaiCosts, page).expect("a statement");
    assert_eq!(counted(&statement, "2024-11-01", "gpt-4o-2024-08-06", "").cost, Some(nanos(300_000_000)));
    assert_eq!(counted(&statement, "2024-11-01", "web search tool calls", "").cost, Some(nanos(1)));
    let table = "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,project_id\r\n\
                 1730419200,1730505600,a,b,1.5,usd,\"gpt-4o-2024-08-06, input\",proj_a\r\n\
                 1730505600,1730592000,a,b,,,,\r\n";
    let table = read(ExportFormat::OpenaiCosts, table).expect("a statement");
    assert_eq!(counted(&table, "2024-11-01", "gpt-4o-2024-08-06", "proj_a").cost, Some(nanos(1_500_000_000)));
    assert_eq!(table.skipped, 1);
}

#[test]
fn anthropic_usage_and_costs() {
    let page = r#"{"data":[{"starting_at":"2025-08-01T00:00:00Z","ending_at":"2025-08-02T00:00:00Z","results":[
        {"uncached_input_tokens":1500,"cache_creation":{"ephemeral_1h_input_tokens":1000,"ephemeral_5m_input_tokens":500},
         "cache_read_input_tokens":200,"output_tokens":500,"server_tool_use":{"web_search_requests":10},"api_key_id":"apikey_1",
         "workspace_id":"wrkspc_1","model":"claude-sonnet-4-20250514","service_tier":"standard","context_window":"0-200k"}]}],
        "has_more":false,"next_page":null}"#;
    let usage = read(ExportFormat::AnthropicUsage, page).expect("a statement");
    let wanted = Counted { input: Some(3_200), output: Some(500), ..Counted::default() };
    assert_eq!(counted(&usage, "2025-08-01", "claude-sonnet-4-20250514", "apikey_1"), wanted);
    let page = r#"{"data":[{"starting_at":"2025-08-01T00:00:00Z","results":[
        {"currency":"USD","amount":"123.78912","workspace_id":null,"description":"Claude Sonnet 4 Usage - Input Tokens",
         "cost_type":"tokens","model":"claude-sonnet-4-20250514","token_type":"uncached_input_tokens"},
        {"currency":"USD","amount":"1","workspace_id":null,"description":"Web Search Usage","cost_type":"web_search","model":null}]}]}"#;
    let costs = read(ExportFormat::AnthropicCosts, page).expect("a statement");
    assert_eq!(counted(&costs, "2025-08-01", "claude-sonnet-4-20250514", "").cost, Some(nanos(1_237_891_200)));
    assert_eq!(counted(&costs, "2025-08-01", "Web Search Usage", "").cost, Some(nanos(10_000_000)));
    let table = "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,\
                 usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens,web_search_count\n\
                 2026-03-22,claude-sonnet-4-20250514,test-key,Default,standard,≤ 200k,100000,1,2,3,50,0\n";
    let table = read(ExportFormat::AnthropicUsage, table).expect("a statement");
    assert_eq!(counted(&table, "2026-03-22", "claude-sonnet-4-20250514", "test-key").input, Some(100_006));
    let table = "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type\n\
                 2026-08-04,Claude Haiku 4.5,Default,demo-key,message,≤ 200k,input_no_cache,0.05,0.05,token\n\
                 2026-08-04,Claude Haiku 4.5,Default,demo-key,message,≤ 200k,output,0.07,0.07,token\n";
    let table = read(ExportFormat::AnthropicCosts, table).expect("a statement");
    assert_eq!(counted(&table, "2026-08-04", "Claude Haiku 4.5", "demo-key").cost, Some(nanos(120_000_000)));
}

#[test]
fn lines_of_bedrock_are_picked_from_a_cost_and_usage_report() {
    let legacy = "lineItem/UsageAccountId,lineItem/LineItemType,lineItem/UsageStartDate,lineItem/ProductCode,lineItem/UsageType,\
                  lineItem/UsageAmount,lineItem/CurrencyCode,lineItem/UnblendedCost,product/ProductName,pricing/unit\n\
                  1,Usage,2026-11-01T00:00:00Z,AmazonBedrock,USE1-NovaPro-input-tokens,12.345,USD,0.0098760000,Amazon Bedrock,1K tokens\n\
                  1,Usage,2026-11-01T05:00:00Z,AmazonBedrock,USE1-NovaPro-cache-read-input-token-count,1,USD,0.0002,Amazon Bedrock,1K tokens\n\
                  1,Usage,2026-11-01T05:00:00Z,AmazonBedrock,USE1-NovaPro-output-tokens-cross-region-global,2,USD,0.0064,Amazon Bedrock,1K tokens\n\
                  1,Usage,2026-11-01T05:00:00Z,8ab,USE1_InputTokenCount-Units,3,USD,9,Claude Sonnet 4 (Amazon Bedrock Edition),Units\n\
                  1,Tax,2026-11-01T00:00:00Z,AmazonBedrock,,,USD,1,Amazon Bedrock,\n\
                  1,Usage,2026-11-01T00:00:00Z,AmazonS3,USE1-Requests,1,USD,1,Amazon S3,Requests\n";
    let statement = read(ExportFormat::AwsCur, legacy).expect("a statement");
    let nova = Counted { requests: None, input: Some(13_345), output: Some(2_000), cost: Some(nanos(16_476_000)) };
    assert_eq!(counted(&statement, "2026-11-01", "NovaPro", "1"), nova);
    let claude = counted(&statement, "2026-11-01", "Claude Sonnet 4", "1");
    assert_eq!((claude.cost, claude.input), (Some(nanos(9_000_000_000)), None), "units of another kind are no tokens");
    assert_eq!((statement.rows, statement.skipped), (4, 2));
    let second = "line_item_usage_account_id,line_item_usage_start_date,line_item_product_code,line_item_usage_type,line_item_usage_amount,\
                  line_item_unblended_cost,pricing_unit\n\
                  1,2026-11-01 00:00:00.000,AmazonBedrock,openai.gpt-oss-120b-mantle-input-tokens-standard,1,0.1,1K tokens\n";
    let second = read(ExportFormat::AwsCur, second).expect("a statement");
    assert_eq!(counted(&second, "2026-11-01", "openai.gpt-oss-120b", "1").input, Some(1_000));
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    let head = "usage_date_utc,model,cost_usd\n";
    for (text, wanted) in [
        ("", "line 1: the file is empty"),
        (head, "line 1: there is nothing in it that was used or billed"),
        ("usage_date_utc,model,cost_usd\n2026-11-01,m,1\n\n2026-11-02,m,x\n", "line 4: `cost_usd` is not an amount: x"),
        ("usage_date_utc,model,cost_usd\n2026-11-31,m,1\n", "line 2: is not a time such as 2026-11-22: 2026-11-31"),
        (
            "usage_date_utc,model,cost_usd\n2026-11-01T00:00:00+02:00,m,1\n",
            "line 2: is not a time of UTC: 2026-11-01T00:00:00+02:00",
        ),
        ("usage_date_utc,model,cost_usd\n2026-11-01,m\n", "line 2: has 2 fields, the head line 3"),
        ("date,model\n2026-11-01,m\n", "line 2: there is nothing under `cost_usd`"),
        ("usage_date_utc,model,cost_usd\n2026-11-01,\"m,1\n", "line 2: a quote does not close"),
        ("{\"data\":[\n{\"results\":[]}]}", "line 2: missing field `starting_at`"),
        (
            "{\"data\":[],\"has_more\":true}",
            "line 1: the last page says that there are more; put all of them into the file, one after the other",
        ),
    ] {
        assert_eq!(error(ExportFormat::AnthropicCosts, text), wanted);
    }
    let euros =
        r#"{"data":[{"start_time":1730419200,"results":[{"amount":{"value":1,"currency":"eur"},"line_item":"m"}]}]}"#;
    assert_eq!(
        error(ExportFormat::OpenaiCosts, euros),
        "line 1: bucket 1: amounts are in eur; the ledger is in US dollars"
    );
    let whole =
        r#"{"data":[{"start_time":1730419200,"results":[{"amount":{"value":1,"currency":"usd"},"line_item":null}]}]}"#;
    assert_eq!(
        error(ExportFormat::OpenaiCosts, whole),
        "line 1: bucket 1: a result has no line item; export it grouped by line_item"
    );
    assert!(error(ExportFormat::AwsCur, "{}").contains("as a table"));
}

proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in "(usage_date_utc,model,cost_usd\n)?[a-z0-9,\"\n.:{}\\[\\]-]{0,60}") {
        for format in ExportFormat::ALL {
            let _ = read(*format, &text);
        }
    }
}
