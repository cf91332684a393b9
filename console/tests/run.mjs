// End to end in a real browser against the real server: from the one-time link to a transaction in the explorer, in both languages.
//
// KONSORT        the program; default: ../target/debug/konsort
// SCREENSHOTS    folder for screenshots; default: none are kept
// LANGUAGES      default: en,zh
// CHROMIUM       the browser; default: chromium on PATH
// DIST           a folder with another build of the console (dist); default: the build that is in the program
import { spawn, execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, mkdirSync, rmSync, readFileSync } from 'node:fs'
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

const dist = process.env.DIST ? resolve(process.env.DIST) : null

const words = {
  en: { valid: 'valid', note: 'first evidence' },
  zh: { valid: '有效', note: '第一笔存证' },
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

const CHAINCODE = `'use strict'

const { Contract } = require('fabric-contract-api')

/** Keeps notes; each change is counted. */
class Notes extends Contract {
  async write(ctx, key, text) {
    const old = await ctx.stub.getState(key)
    const count = old.length ? JSON.parse(old.toString()).count + 1 : 1
    const note = Buffer.from(JSON.stringify({ text, count }))
    await ctx.stub.putState(key, note)
    ctx.stub.setEvent('Written', note)
  }

  async read(ctx, key) {
    return (await ctx.stub.getState(key)).toString()
  }
}

module.exports.contracts = [Notes]
`

// What is typed: the language of the project, its contract, and the same with a mistake in it.
const OWN = {
  bcos: { language: 'solidity', code: SOLIDITY, mistake: SOLIDITY.replace('count += 1;', 'count += one;') },
  fabric: { language: 'javascript', code: CHAINCODE, mistake: CHAINCODE.replace("setEvent('Written', note)", "setEvent('Written', note") },
}

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

/** Somebody else writes the file that is open. */
async function meanwhile(page) {
  const status = await page.evaluate(async () => {
    const { csrf_token } = await (await fetch('/v1/session')).json()
    const project = location.pathname.split('/').pop()
    const answer = await fetch(`/v1/projects/${project}/files/index.js`, { method: 'PUT', headers: { 'x-csrf-token': csrf_token, 'content-type': 'text/plain' }, body: '// by somebody else' })
    return answer.status
  })
  if (status !== 200) throw new Error(`the file could not be written by somebody else: ${status}`)
}

async function journey(browser, language) {
  const folder = mkdtempSync(join(tmpdir(), 'konsort-console-'))
  const server = await startServer(folder)
  const said = words[language]
  const context = await browser.newContext({
    viewport: { width: 1280, height: 720 },
    locale: language === 'zh' ? 'zh-CN' : 'en-GB',
    colorScheme: language === 'zh' ? 'dark' : 'light',
    baseURL: server.base,
  })
  if (dist) {
    await context.route((url) => !url.pathname.startsWith('/v1/'), (route) => {
      const path = join(dist, new URL(route.request().url()).pathname)
      return route.fulfill({ path: path !== dist + '/' && existsSync(path) ? path : join(dist, 'index.html') })
    })
  }
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
    await page.screenshot({ path: join(target, `${String(++shot).padStart(2, '0')}-${name}.png`), animations: 'disabled' })
  }
  /** Until everything that the page asks for is there. */
  const settled = async () => {
    await page.locator('h1').first().waitFor()
    await page.waitForFunction(() => !document.querySelector('.skeleton'))
  }
  /** Waits for one, unless the other comes first, which is a failure. */
  const unless = async (good, bad, what, timeout = 240_000) => {
    const failed = bad.first().waitFor({ timeout }).then(() => true, () => false)
    if (await Promise.race([good.first().waitFor({ timeout }).then(() => false), failed])) throw new Error(`${what}: ${(await page.locator('body').innerText()).replaceAll('\n', ' | ')}`)
  }
  const type = async (text) => {
    await t('editor').locator('.cm-content').click()
    await page.keyboard.press('Control+a')
    await page.keyboard.insertText(text)
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
      await unless(t('operation-done'), page.locator('[data-test=operation-state] [data-state=failed]'), 'the operation failed')
      await t('open-network').click()
      await t('strip').locator('li a').first().waitFor()
      await settled()
      await look(`${engine}-network`)
      networks.push(page.url().split('/').pop())
    }

    for (const engine of ['bcos', 'fabric']) {
      step(`a contract of one's own on ${engine}`)
      const own = OWN[engine]
      await page.goto('/contracts/projects')
      await t('new-project').click()
      await page.locator('[name=project]').fill(language === 'zh' ? '记事' : 'Notes')
      await page.locator('[name=language]').selectOption(own.language)
      await t('project-go').click()
      await page.waitForFunction(() => document.querySelector('.cm-content')?.textContent?.length > 20)
      // First with a mistake, which shows at its line.
      if (engine === 'fabric') await meanwhile(page)
      await type(own.mistake)
      if (engine === 'fabric') {
        // What is not saved is not lost by a step back.
        const asked = page.waitForEvent('dialog')
        const place = page.url()
        await page.evaluate(() => history.back())
        await (await asked).dismiss()
        await page.waitForFunction((url) => location.href.startsWith(url.split('?')[0]), place)
        // Nor is what somebody else has written.
        await t('save').click()
        await t('overwrite').waitFor()
        await look('fabric-conflict')
        await t('overwrite').click()
        await t('overwrite').waitFor({ state: 'detached' })
      }
      await t('build').click()
      await page.locator('.cm-lintRange-error, .cm-lint-marker-error').first().waitFor({ timeout: 300_000 }) // The first build fetches a compiler.
      await look(`${engine}-error-inline`)
      await type(own.code)
      await t('build').click()
      await unless(t('build-state').locator('[data-state=done]'), page.locator('[role=alert]'), 'the build failed', 300_000)
      await look(`${engine}-built`)
      await t('deploy').click()
      await page.locator('[name=contract-name]').fill(`notes-${language}`)
      await look(`${engine}-deploy`)
      await t('deploy-go').click()
      await t('deploy-state').waitFor()
      await look(`${engine}-deploying`)
      await unless(page.locator('[data-test=deploy-open]:not([aria-disabled=true])'), page.locator('[data-test=deploy-state] [data-state=failed]'), 'deploying failed', 300_000)
      await t('deploy-open').click()

      step(`call it, find its transaction (${engine})`)
      const fill = async (...values) => {
        const inputs = page.locator('form .field input.input[name]')
        for (const [i, value] of values.entries()) await inputs.nth(i).fill(value)
      }
      await page.locator('[data-method=write]').click()
      await fill(...(engine === 'bcos' ? [said.note] : ['one', said.note]))
      await t('simulate').click()
      await t('simulation').waitFor()
      await look(`${engine}-simulated`)
      await t('call').click()
      await t('result').waitFor()
      await look(`${engine}-called`)
      const hash = await t('result-tx').locator('.hash').getAttribute('title')

      await page.locator('[data-method=read]').click()
      if (engine === 'fabric') await fill('one')
      // What only reads is simulated or called alike.
      await t((await t('simulate').count()) ? 'simulate' : 'call').click()
      const answer = (await page.locator('[data-test=returned], [data-test=simulation] dd').first().innerText()).trim()
      if (!answer.includes(said.note)) throw new Error(`the contract answers ${answer}, not ${said.note}`)

      await page.goto('/explorer')
      await t('explorer-search').fill(hash)
      await t('explorer-search').press('Enter')
      await t('hit-transaction').first().waitFor()
      await look(`${engine}-search`)
      await t('hit-transaction').first().locator('a').first().click()
      const state = await t('tx-state').textContent()
      if (!state.includes(said.valid)) throw new Error(`the transaction is ${state}`)
      if (!(await t('tx-id').textContent()).includes(hash)) throw new Error('another transaction is shown')
      if (!(await page.locator('main').innerText()).includes(said.note)) throw new Error('the transaction does not show what was written')
      await look(`${engine}-transaction`)
      await page.goto(`/contracts/debug/${networks[engine === 'bcos' ? 0 : 1]}/${hash}`)
      await (engine === 'bcos' ? t('step') : page.locator('main h2').first()).waitFor()
      await settled()
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
      await settled()
      if (name === 'home') await page.locator('.quick li.done').nth(3).waitFor()
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
    await page.locator('[role=log] div').first().waitFor()
    await settled()
    await look('node')

    step('keyboard: command palette')
    await page.goto('/')
    await page.locator('h1').waitFor()
    await page.keyboard.press('Control+k')
    await t('palette').fill(language === 'zh' ? '审计' : 'audit')
    await page.locator('[role=option]').first().waitFor()
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
