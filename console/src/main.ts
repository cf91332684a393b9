import { mount } from 'svelte'
import App from './App.svelte'
import './styles/tokens.css'
import './styles/base.css'
import { preferred, setLanguage } from './lib/i18n.svelte'
import { start } from './lib/router.svelte'
import { routes } from './routes'
import './lib/theme.svelte'

await setLanguage(preferred(), false)
start(routes)
mount(App, { target: document.getElementById('app')! })
