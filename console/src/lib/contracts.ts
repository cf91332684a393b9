// Tabs that the pages of contracts share.
import { t } from './i18n.svelte'

export const contractTabs = () => [
  { text: t('contracts.deployed'), href: '/contracts', exact: true },
  { text: t('contracts.projects'), href: '/contracts/projects' },
  { text: t('contracts.library'), href: '/contracts/library' },
]

export const LANGUAGES: Record<string, string> = { solidity: 'Solidity', javascript: 'JavaScript', typescript: 'TypeScript', go: 'Go', rust: 'Rust' }
