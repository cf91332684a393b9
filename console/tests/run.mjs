// End to end in a real browser against the real server: from the one-time link to a transaction in the explorer, in both languages.
//
// KONSORT        the program; default: ../target/debug/konsort
// SCREENSHOTS    folder for screenshots; default: none are kept
// LANGUAGES      default: en,zh
// CHROMIUM       the browser; default: chromium on PATH
import { spawn, execFileSync } from 'node:child_process'
import { mkdtempSync, mkdirSync, rmSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const program = resolve(process.env.KONSORT ?? join(root, '../target/debug/konsort'))
const shots = process.env.SCREENSHOTS ? resolve(process.env.SCREENSHOTS) : null
const browserPath = process.env.CHROMIUM ?? execFileSync('sh', ['-c', 'command -v chromium']).toString().trim()
const languages = (process.env.LANGUAGES ?? 'en,zh').split(',')

const words = {
  en: { done: 'done', valid: 'valid' },
  zh: { done: '完成', valid: '有效' },
}

// A contract of one's own on each engine, as a person would type it.
const SOLIDITY = `// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.0;

/// Keeps one note for everybody.
contract Notes {
    string private note;
    uint256 public count;
    event Written(address indexed who, string note);

    function write(string calldata text) external {
        note = text;
        count += 1;
        emit Written(msg.sender, text);
    }

    function read() external view returns (string memory) {
        return note;
    }
}
`

function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => done(port))
    })
  })
}

async function startServer(folder) {
  const port = await freePort()
  const child = spawn(program, ['server', '--data', folder, '--listen', `127.0.0.1:${port}`], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  const link = await new Promise((done, failed) => {
    const take = (data) => {
      output += data
      const match = /https?:\/\/\S+\/setup\?token=[^\s"']+/.exec(output)
      if (match) done(match[0])
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.on('exit', (code) => failed(new Error(`the server ended with ${code}:\n${output}`)))
    setTimeout(() => failed(new Error(`no setup link after 60 s:\n${output}`)), 60_000).unref()
  })
  return { child, link, base: `http://127.0.0.1:${port}` }
}

/** Deletes every network, so that no node outlives the test, then ends the server. */
async function stopServer({ child }, page) {
  if (page) {
    await page
      .evaluate(async () => {
        const session = await (await fetch('/v1/session')).json()
        const { items } = await (await fetch('/v1/networks')).json()
        for (const network of items) {
          const answer = await fetch(`/v1/networks/${network.id}`, { method: 'DELETE', headers: { 'x-csrf-token': session.csrf_token } })
          const operation = await answer.json()
          for (let i = 0; i < 120; i++) {
            const now = await (await fetch(`/v1/operations/${operation.id}`)).json()
            if (now.state === 'done' || now.state === 'failed') break
            await new Promise((done) => setTimeout(done, 500))
          }
        }
      })
      .catch((error) => console.error('networks were not deleted:', error.message))
  }
  const ended = new Promise((done) => child.on('exit', done))
  child.kill('SIGTERM')
  await Promise.race([ended, new Promise((done) => setTimeout(done, 15_000))])
  if (child.exitCode === null) child.kill('SIGKILL')
}

async function journey(browser, language) {
  const folder = mkdtempSync(join(tmpdir(), 'konsort-console-'))
  const server = await startServer(folder)
  const context = await browser.newContext({
    viewport: { width: 1280, height: 720 },
    locale: language === 'zh' ? 'zh-CN' : 'en-GB',
    colorScheme: language === 'zh' ? 'dark' : 'light',
    baseURL: server.base,
  })
  const page = await context.newPage()
  page.setDefaultTimeout(60_000)
  const faults = []
  page.on('pageerror', (error) => faults.push(`page error: ${error.message}`))
  page.on('console', (message) => {
    if (message.type() === 'error' && !/status of 4\d\d/.test(message.text())) faults.push(`console: ${message.text()}`)
  })
  let shot = 0
  const look = async (name) => {
    if (!shots) return
    const target = join(shots, language)
    mkdirSync(target, { recursive: true })
    await page.waitForTimeout(250)
    await page.screenshot({ path: join(target, `${String(++shot).padStart(2, '0')}-${name}.png`) })
  }
  const t = (name) => page.locator(`[data-test="${name}"]`)
  const step = (text) => console.log(`  ${language}: ${text}`)

  try {
    step('first run by the printed link')
    await page.goto(server.link)
    await page.locator('[name=password]').fill('a long enough pass phrase')
    await page.locator('[name=organisation]').fill(language === 'zh' ? '示范组织' : 'Example Trade')
    await look('setup')
    await t('setup-go').click()
    await t('build').waitFor()
    if ((await page.locator('html').getAttribute('lang')) !== (language === 'zh' ? 'zh-CN' : 'en')) throw new Error('wrong language')
    await look('welcome')

    const networks = []
    for (const engine of ['bcos', 'fabric']) {
      step(`create a ${engine} network`)
      await page.goto('/networks/new')
      await page.locator('[name=name]').fill(engine === 'bcos' ? (language === 'zh' ? '票据链' : 'Invoice chain') : language === 'zh' ? '贸易网络' : 'Trade network')
      await page.locator(`input[type=radio][value=${engine}]`).check()
      await t('fault-budget').waitFor()
      await look(`${engine}-wizard-engine`)
      await t('wizard-next').click()
      await look(`${engine}-wizard-members`)
      await t('wizard-next').click()
      await t('wizard-next').click()
      await look(`${engine}-wizard-review`)
      await t('wizard-create').click()
      await t('operation-state').waitFor()
      await look(`${engine}-operation`)
      await Promise.race([
        t('operation-done').waitFor({ timeout: 240_000 }),
        page
          .locator('[data-test=operation-state] [data-state=failed]')
          .waitFor({ timeout: 240_000 })
          .then(async () => {
            throw new Error(`the operation failed: ${(await page.locator('main').innerText()).replaceAll('\n', ' | ')}`)
          }),
      ])
      await t('open-network').click()
      await t('strip').locator('li a').first().waitFor()
      await page.waitForTimeout(2500)
      await look(`${engine}-network`)
      networks.push(page.url().split('/').pop())
    }

    for (const engine of ['bcos', 'fabric']) {
      step(`a contract of one's own on ${engine}`)
      if (engine === 'bcos') {
        await page.goto('/contracts/projects')
        await t('new-project').click()
        await page.locator('[name=project]').fill(language === 'zh' ? '记事' : 'Notes')
        await t('project-go').click()
        const editor = t('editor').locator('.cm-content')
        await editor.waitFor()
        await page.waitForFunction(() => document.querySelector('.cm-content')?.textContent?.length > 20)
        // First with a mistake, which shows at its line.
        await editor.click()
        await page.keyboard.press('Control+a')
        await page.keyboard.insertText(SOLIDITY.replace('count += 1;', 'count += one;'))
        await t('build').click()
        await page.locator('.cm-lintRange-error, .cm-lint-marker-error').first().waitFor({ timeout: 300_000 }) // The first build fetches a compiler.
        await look('bcos-error-inline')
        await editor.click()
        await page.keyboard.press('Control+a')
        await page.keyboard.insertText(SOLIDITY)
      } else {
        await page.goto('/contracts/library?engine=fabric')
        await look('library')
        const wanted = page.locator('[data-sample*=asset], [data-sample]').first()
        await wanted.locator('button').click()
        await t('editor').locator('.cm-content').waitFor()
        await page.waitForFunction(() => document.querySelector('.cm-content')?.textContent?.length > 20)
      }
      await t('build').click()
      await t('build-state').locator('[data-state=done]').waitFor({ timeout: 300_000 })
      await look(`${engine}-built`)
      await t('deploy').click()
      await t('deploy-go').waitFor()
      await look(`${engine}-deploy`)
      await t('deploy-go').click()
      await page.waitForTimeout(1200)
      await look(`${engine}-deploying`)
      await page.locator('[data-test=deploy-open]:not([aria-disabled=true])').waitFor({ timeout: 300_000 })
      await t('deploy-open').click()

      step(`call it, find its transaction (${engine})`)
      const writes = engine === 'bcos' ? 'write' : null
      const method = writes ? page.locator(`[data-method=${writes}]`) : page.locator('.methods button', { has: page.locator('.tag') }).filter({ hasText: language === 'zh' ? '写' : 'writes' }).first()
      await method.click()
      const inputs = page.locator('form .field input.input[name]')
      for (let i = 0; i < (await inputs.count()); i++) {
        const input = inputs.nth(i)
        if (await input.isVisible()) await input.fill(engine === 'bcos' ? (language === 'zh' ? '第一笔存证' : 'first evidence') : `${i + 41}`)
      }
      await t('simulate').click()
      await t('simulation').waitFor()
      await look(`${engine}-simulated`)
      await t('call').click()
      await t('result').waitFor()
      await look(`${engine}-called`)
      const hash = await t('result-tx').locator('.hash').getAttribute('title')
      await page.goto('/explorer')
      await t('explorer-search').fill(hash)
      await t('explorer-search').press('Enter')
      await t('hit-transaction').first().waitFor({ timeout: 20_000 })
      await look(`${engine}-search`)
      await t('hit-transaction').first().locator('a').first().click()
      const state = await t('tx-state').textContent()
      if (!state.includes(words[language].valid)) throw new Error(`the transaction is ${state}`)
      if (!(await t('tx-id').textContent()).includes(hash)) throw new Error('another transaction is shown')
      await look(`${engine}-transaction`)
      await page.goto(`/contracts/debug/${networks[engine === 'bcos' ? 0 : 1]}/${hash}`)
      await page.locator('.debug, h2').first().waitFor()
      await page.waitForTimeout(1500)
      await look(`${engine}-debug`)
    }

    step('the other pages')
    const [bcos, fabric] = networks
    for (const [name, path] of [
      ['home', '/'],
      ['networks', '/networks'],
      ['fabric-nodes', `/networks/${fabric}/nodes`],
      ['bcos-nodes', `/networks/${bcos}/nodes`],
      ['channels', `/networks/${fabric}/channels?channel=mychannel`],
      ['monitoring', `/networks/${bcos}/monitoring`],
      ['config', `/networks/${bcos}/config`],
      ['config-fabric', `/networks/${fabric}/config`],
      ['network-members', `/networks/${fabric}/members`],
      ['identities', `/networks/${fabric}/identities`],
      ['identities-bcos', `/networks/${bcos}/identities`],
      ['explorer', `/explorer/${fabric}`],
      ['transactions', `/explorer/${bcos}?tab=transactions`],
      ['block', `/explorer/${bcos}/blocks/1`],
      ['contracts', '/contracts'],
      ['projects', '/contracts/projects'],
      ['members', '/members'],
      ['operations', '/operations'],
      ['access', '/access'],
      ['roles', '/access?tab=roles'],
      ['audit', '/audit'],
      ['settings', '/settings'],
    ]) {
      await page.goto(path)
      await page.locator('h1').waitFor()
      await page.waitForTimeout(600)
      const alert = page.locator('[role=alert]')
      if (await alert.count()) faults.push(`${name}: ${(await alert.first().innerText()).replaceAll('\n', ' | ')}`)
      const missing = await page.evaluate(() => document.body.innerText.match(/\b[a-z]+\.[a-z_]+(?=\s|$)/g)?.filter((w) => /^(common|nav|network|node|status|operation|explorer|contract|deploy|call|home|wizard|audit|access|members|workbench)\./.test(w)))
      if (missing?.length) faults.push(`${name}: message keys on the page: ${missing.join(', ')}`)
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth)
      if (wide) faults.push(`${name}: wider than 1280`)
      await look(name)
    }
    const rows = page.locator('tr[data-node]')
    await page.goto(`/networks/${fabric}/nodes`)
    await rows.first().locator('a').first().click()
    await page.locator('[role=log]').waitFor()
    await page.waitForTimeout(800)
    await look('node')

    step('keyboard: command palette')
    await page.goto('/')
    await page.locator('h1').waitFor()
    await page.keyboard.press('Control+k')
    await t('palette').fill(language === 'zh' ? '审计' : 'audit')
    await look('palette')
    await page.keyboard.press('Enter')
    await page.waitForURL('**/audit')

    if (faults.length) throw new Error(faults.join('\n'))
  } catch (error) {
    await look('failure').catch(() => {})
    console.error(`at ${page.url()}`)
    if (faults.length) console.error(faults.join('\n'))
    throw error
  } finally {
    await stopServer(server, page)
    await context.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

readFileSync(program)
const browser = await chromium.launch({
  executablePath: browserPath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})
try {
  for (const language of languages) {
    console.log(`journey in ${language}`)
    await journey(browser, language)
  }
} finally {
  await browser.close()
}
console.log('done')
